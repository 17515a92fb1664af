package quant

// ChainLength returns how many terms of a sum of products torch's CPU float32
// matrix product fuses into one chain; sums over more are cut into chains that
// are added in order. See Delta.
func ChainLength(terms int) int { return chainLength(terms) }
