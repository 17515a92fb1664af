package merge

import (
	"fmt"
	"math"
)

// dash stands for a figure that does not exist.
const dash = "–"

// Percent prints a share as a percentage with about two digits: "7.3%", "98%",
// "0.55%"; a dash for NaN.
func Percent(v float64) string {
	switch p := 100 * v; {
	case math.IsNaN(p):
		return dash
	case math.IsInf(p, 0):
		return infinity(p)
	case math.Abs(p) >= 9.95 || p == 0:
		return fmt.Sprintf("%.0f%%", p)
	case math.Abs(p) >= 0.995:
		return fmt.Sprintf("%.1f%%", p)
	case math.Abs(p) >= 0.0995:
		return fmt.Sprintf("%.2f%%", p)
	default:
		return fmt.Sprintf("%.1g%%", p)
	}
}

func infinity(v float64) string {
	if v < 0 {
		return "-∞"
	}
	return "∞"
}
