/* A peer inside bench_operator's own process: a shared library that bench/peers.sh compiles from NAME.cc, and
   that defines kith_peer(). The bench links none of them; it opens those that are there
   (operator/in_process_peer.cc).

   Functions that return text (but for version) return NULL, or why not, which stays readable until the next
   call of that function. All are called by one thread. */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum KithType { kith_float32, kith_float64, kith_bfloat16, kith_float16 };

/* Softmax attention over scaled dot products. Arrays are row by row without gaps, and stay where they are. */
struct KithProblem {
  enum KithType type;
  int is_backward, is_causal; /* causal: query i sees keys 0 ... i */
  int threads;                /* to be worked on at most, the caller's among them */
  int64_t heads, queries, keys, depth, value_depth;
  double scale;
  const void* query; /* [heads][queries][depth] */
  const void* key;   /* [heads][keys][depth] */
  const void* value; /* [heads][keys][value_depth] */
  const void* d_out; /* backward: [heads][queries][value_depth], of the results' type */
};

/* double where the problem is float64, else float; valid until the next call of any function. Those that the
   problem does not ask for are NULL. */
struct KithResults {
  const void* out;                       /* [heads][queries][value_depth] */
  const void *d_query, *d_key, *d_value; /* as query, key and value */
};

struct KithPeer {
  const char* (*version)(void); /* "OpenBLAS 0.3.21" */
  /* What of the problem the library has no operation for: "float64". */
  const char* (*unsupported)(const struct KithProblem*);
  /* Whatever depends on shapes alone; drops what was prepared before. */
  const char* (*prepare)(const struct KithProblem*);
  /* The work to be timed. */
  const char* (*run)(void);
  /* Of the last run. */
  const char* (*results)(struct KithResults*);
  /* Gives all memory of the prepared problem back. */
  void (*release)(void);
};

const struct KithPeer* kith_peer(void);

#ifdef __cplusplus
}
#endif
