// Package loader reads checkpoints and adapters: safetensors files, their
// index, config.json, the companions bitsandbytes stores beside a quantized
// tensor, and PEFT adapter directories.
//
// It does no arithmetic. Opening parses headers only; the bytes of a tensor are
// read when asked for, through io.ReaderAt, so a checkpoint of any size opens
// at once. Everything that comes out of a file is checked before memory is
// allocated for it, and every error names the file, the tensor and, where
// there is one, the byte offset.
//
// What a Source opens is immutable after opening and safe for concurrent
// use, including reading tensors.
package loader
