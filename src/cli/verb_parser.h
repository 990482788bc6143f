// One verb's options, read with CLI11, and checks of their values that speak with one voice.
#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/options.h"

namespace kith::cli {

/// "; did you mean X?", or nothing when no candidate is near.
std::string suggestion(const std::string& word, const std::vector<std::string>& candidates);

// Option checks: "--why: needs a whole number from 0 to 9, got x".
CLI::Validator whole_number(std::uint64_t lowest, std::uint64_t highest);
CLI::Validator finite_number(double lowest);
CLI::Validator number_between(double lowest, double highest);
CLI::Validator share();
CLI::Validator one_of(std::vector<std::string> words);

/// One verb's options, read into the verb's struct, with the checks that need more than one of them.
class VerbParser {
 public:
  VerbParser(const std::string& verb, const std::string& description, const std::string& example);

  CLI::App& app() { return app_; }
  const CLI::App& app() const { return app_; }

  void common(CommonArguments& into);
  void table_format(CsvOptions& into);
  CLI::Option* name_list(const std::string& option, const std::string& description);
  std::vector<std::string> names(std::size_t list) const;

  [[noreturn]] void wrong(const std::string& message) const;

  /// The message of --help or --version, or nothing when the verb is to be run.
  std::optional<Message> parse(int argc, char** argv);

 private:
  [[noreturn]] void complain(const CLI::ParseError& error) const;
  std::vector<std::string> option_names() const;
  void read_table_format();

  std::string verb_;
  CLI::App app_;
  CsvOptions* csv_ = nullptr;
  std::string delimiter_, decimal_ = "point";
  bool no_header_ = false;
  std::vector<std::unique_ptr<std::vector<std::string>>> lists_;
};

/// A picture's name ends in .svg or .png, or is empty.
void check_picture(const VerbParser& parser, const std::string& path);
/// An option that was given is not empty.
void check_not_empty(const VerbParser& parser, const std::string& argument, const std::string& path);

}  // namespace kith::cli
