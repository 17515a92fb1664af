// Package quant holds the arithmetic of bitsandbytes formats: code tables,
// dequantization, requantization, the LoRA update and the figures that compare
// a weight before and after a merge.
//
// The package works on slices of numbers. It opens no files, starts no
// goroutines and keeps no global state besides constant tables and the kernels
// that Use chose, so every function is safe for concurrent use on distinct
// slices.
//
// # Kernels
//
// Each step is written in Go, its readable twin. On amd64 vector kernels for
// AVX2 and AVX-512 do whole chunks of 64 weights of finite numbers, and the twin
// does the rest. The command in gen writes them; -tags noasm leaves them out.
//
// # Bit rules
//
// The delta is one float32 FMA chain per element, k ascending from +0, as
// torch's CPU GEMM computes it; above rank 192 it is the sum of several such
// chains. Errors that a Feedback carries to later places are such chains, too.
// Nothing else is fused: every product that feeds an addition is written
// float32(x*y), which the Go specification forbids the compiler to contract. Results therefore depend on neither the instruction set nor the
// tiling, and each fast kernel returns the bits of its Go twin.
//
// # Shapes
//
// A weight is [rows, cols], row-major, rows = out_features, cols =
// in_features. Blocks run over the flat tensor, so a block straddles two rows
// when cols is no multiple of the blocksize. Slices whose lengths do not fit
// together are programming errors and panic; bad data never does.
package quant
