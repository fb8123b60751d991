#pragma once

// What contracts throw: one sentence, of a runtime-neutral type that each front end turns into the
// error of its runtime. No std::string is in these headers, since runtimes differ in its ABI.

#include <cstdint>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "contracts/number.h"
#include "contracts/sizes.h"

namespace caffe2op_mask {

// An input or an argument that its operator does not take. what() names both, what was expected
// and what came.
class ContractError : public std::runtime_error {
 public:
  explicit ContractError(const char* sentence) : std::runtime_error(sentence) {}
};

// A text that is put together of parts.
class Sentence {
 public:
  Sentence& operator<<(std::string_view text);
  Sentence& operator<<(const char* text) { return *this << std::string_view(text); }
  Sentence& operator<<(int64_t number);
  Sentence& operator<<(int number) { return *this << int64_t{number}; }
  // With as many digits as it takes to know the number from all others of float32 or, if it is
  // none of these, of float64.
  Sentence& operator<<(double number);
  Sentence& operator<<(const Number& number);
  // "[2, 3]"
  Sentence& operator<<(Sizes sizes);

  std::string_view text() const { return {text_.data(), text_.size()}; }

 private:
  std::vector<char> text_;
};

[[noreturn]] void Throw(Sentence sentence);

// Throws the sentence of `parts` unless `holds`. It is put together only then.
template <class... Parts>
void Require(bool holds, const Parts&... parts) {
  if (__builtin_expect(!holds, 0)) {
    Sentence sentence;
    (sentence << ... << parts);
    Throw(sentence);
  }
}

}  // namespace caffe2op_mask
