// Package model runs a decoder-only language model in float32: Llama, Mistral,
// Qwen2, Qwen3, Gemma 2, Gemma 3 (text) and Phi-3 as transformers computes
// them, and says how the distributions of several variants of one model differ.
//
// Forward passes all sequences of all variants through layer i before layer i+1
// is read. Variants that share their Weights share each read and each
// dequantization of them, so memory is that of the activations and of a few
// panels of weights, whatever the size of the model.
//
// # Bit rules
//
// Every product of matrices is cut into chains of 48 terms. A chain is one
// float32 FMA per term, in ascending order from +0; chains are added in
// order. Short chains halve the rounding error of long ones. Which tile or worker computes an element plays no part in it, nor do
// the other sequences of a batch, nor the instruction set: each vector kernel
// returns the bits of its twin in Go. Outside of chains nothing is fused. Moments
// of inputs are the exception: there inputs are rounded to 8 or 12 bits, and products of
// 384 tokens added up in int32, which is exact in any order.
//
// # Shapes
//
// Activations are [tokens, features], row-major; weights [out, in] as in a
// checkpoint. The tokens of a batch are those of its sequences one after the
// other.
package model
