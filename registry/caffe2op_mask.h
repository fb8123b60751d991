// What a program in C or C++ can ask of the library once it is loaded. Its
// operators need none of this: loading registers them.

#ifndef CAFFE2OP_MASK_H_
#define CAFFE2OP_MASK_H_

#define CAFFE2OP_MASK_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

// The version of the library: three numbers with dots between them.
CAFFE2OP_MASK_EXPORT const char* caffe2op_mask_version(void);

// Compiler and version that built it.
CAFFE2OP_MASK_EXPORT const char* caffe2op_mask_compiler(void);

// The instruction set that kernels run with, such as "AVX3_DL" or "AVX2".
CAFFE2OP_MASK_EXPORT const char* caffe2op_mask_target(void);

#ifdef __cplusplus
}
#endif

#endif  // CAFFE2OP_MASK_H_
