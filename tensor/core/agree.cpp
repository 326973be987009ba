#include "tensor/core/agree.h"

namespace tessera {

void check_present(const char* op, const char* name, const Tensor& x) {
  check(static_cast<bool>(x), op, ": ", name, " is empty");
}

void check_agree(const char* op, const char* a_name, const Tensor& a, const char* b_name, const Tensor& b) {
  check_present(op, a_name, a);
  check_present(op, b_name, b);
  if (a.dtype() == b.dtype() && a.device() == b.device()) return;
  throw Error(str(op, ": ", a_name, " is ", name_of(a.dtype()), " on ", a.device().text(), ", ", b_name, " is ",
                  name_of(b.dtype()), " on ", b.device().text(), "; expected one type and one device"));
}

void check_offset(const char* op, std::span<const std::int64_t> offset, std::int64_t rows, const char* what) {
  check(!offset.empty(), op, ": offset is empty, expected one number more than there are sequences");
  check(offset.front() == 0, op, ": offset starts at ", offset.front(), ", expected 0");
  for (std::size_t i = 1; i < offset.size(); ++i)
    check(offset[i] >= offset[i - 1], op, ": offset[", i, "] is ", offset[i], ", less than the one before it, ",
          offset[i - 1]);
  check(offset.back() == rows, op, ": offset ends at ", offset.back(), ", ", what, " has ", rows, " rows");
}

}  // namespace tessera
