//go:build arm64 && gc && !noasm

package quant

// chunk is how many columns a block of the packed factor has.
const chunk = 64

// NEON is part of every arm64 processor.
func hasLevel(l Level) bool { return l <= NEON }

// Both set dst [4 or 1, 64*blocks] to scale times one chain of k products, as
// delta4AVX512 and delta1AVX512 do.
//
//go:noescape
func delta4NEON(dst *float32, stride int, b *float32, rank int, a *float32, next int, k int, blocks int, scale float32, add int) (nan int)

//go:noescape
func delta1NEON(dst *float32, stride int, b *float32, rank int, a *float32, next int, k int, blocks int, scale float32, add int) (nan int)

func (t *deltaTileOf) kernel(dst *float32, stride int, b, a *float32, k int, scale float32, add int) (nan int) {
	rank, next := t.f.Rank, t.f.Rank*chunk
	if t.rows == 4 {
		return delta4NEON(dst, stride, b, rank, a, next, k, t.blocks, scale, add)
	}
	return delta1NEON(dst, stride, b, rank, a, next, k, t.blocks, scale, add)
}
