//go:build !amd64 || !gc || noasm

package quant

// What follows is the vector part of a step, see kernels_amd64.go, but for the delta: each returns
// how much of it is done, and the Go twin does the rest.

func deltaHalfVector(dst, b []float32, f *Factor, rows int, s float32, dtype Format) bool {
	return false
}
func decodeVector([]float32, []byte, Format) int                         { return 0 }
func encodeVector([]byte, []float32, Format) int                         { return 0 }
func roundVector([]float32, Format) int                                  { return 0 }
func addVector(dst, x, y []float32) int                                  { return 0 }
func maxAbsVector([]float32) (uint32, int)                               { return 0, 0 }
func dequantize4Vector([]float32, []byte, []float32, Spec) int           { return 0 }
func quantize4Vector([]byte, []float32, []float32, Spec) int             { return 0 }
func dequantize8Vector([]float32, []byte, float32) int                   { return 0 }
func quantize8Vector([]byte, []float32, float32) int                     { return 0 }
func farthestVector([]float32, float32) (float32, int)                   { return 0, 0 }
func placeVector([]uint16, []float32, float32, float32) int              { return 0 }
func scaleVector([]float32, []byte, *[256]float32, float32, float32) int { return 0 }
func sumVector(*[4][torchLanes]float32, []float32) int                   { return 0 }
func (p *Panel) mergeVector([]float32, *Factor, float32, []float32) bool {
	return false
}
func (p *Panel) pendingVector([]Pending, []float32, *Factor, float32) bool { return false }
func driftVector([]drift, []float32, []float32, []byte, []float32, []float32, Spec) int {
	return 0
}
func (p *Panel) scalesVector([]float32, *Factor, float32) bool { return false }
func interleaveVector(dst []float32, width int, src []float32, stride, rows, cols int) (r, c int) {
	return 0, 0
}
func changedVector(sums []BlockSum, old, now []byte, f Format) int { return 0 }
func measureHalfVector([]BlockSum, []float32, []float32, []float32, []byte, Format) int {
	return 0
}

func measureVector([]BlockSum, []float32, []float32, []float32, []float32, int) int {
	return 0
}

func settleVector([]BlockSum, []Pending, int, []float32, []float32, []float32) (float32, int) {
	return 0, 0
}
func (s *Sums) addVector([]BlockSum) int                                          { return 0 }
func (s *strip) runVector() bool                                                  { return false }
func gatherVector(tile, x []float32, places []int32) int                          { return 0 }
func packVector(dst []byte, first int, tile []byte, places []int32, f Format) int { return 0 }
func addTurnedVector(z, y, d []float32) bool                                      { return false }
func (x *scaleSearch) missesVector(scale, inverse float32) bool                   { return false }

func largestOf(largest []uint32, x []float32) { largestOfGo(largest, x) }
func pairsOf(dst []int16, x, per []float32)   { pairsOfGo(dst, x, per) }
