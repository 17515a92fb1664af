// Package merge plans and runs merges of LoRA adapters into quantized
// checkpoints.
//
// A Project is an opened checkpoint with its adapters. A Plan says which adapter
// goes into which layer at which scale and in which form the layer is written.
// A Job runs a plan over a pool of workers, dry or into an output directory,
// and can be watched through snapshots that cost the same whatever the speed.
//
// Jobs never send: workers touch atomics and small guarded state, watchers poll
// Snapshot. All goroutines are joined before Run returns.
package merge
