package heat

import (
	"math"
	"testing"
)

func TestScale(t *testing.T) {
	lin := Scale{Low: 0, High: 1}
	kept := Scale{Low: 0, High: 1, Flip: true}
	log := Scale{Low: 1e-4, High: 1, Log: true}
	open := Scale{Low: 0, High: 64, Log: true} // runs from 0.064 to 64
	for _, tc := range []struct {
		name string
		s    Scale
		v    float64
		want Cell
	}{
		{"low end", lin, 0, 0},
		{"high end", lin, 1, 255},
		{"middle", lin, 0.5, 128},
		{"below", lin, -3, 0},
		{"above", lin, 7, 255},
		{"flipped low end is hot", kept, 0, 255},
		{"flipped high end is quiet", kept, 1, 0},
		{"log low end", log, 1e-4, 0},
		{"log middle", log, 1.01e-2, 128},
		{"log of nothing", log, 0, 0},
		{"log of a negative", log, -1, 0},
		{"log without a low end", open, 0, 0},
		{"three of six decades", open, 65 / math.Sqrt(1000), 128},
		{"nan", lin, math.NaN(), NaN},
		{"inf", log, math.Inf(1), Inf},
		{"-inf", lin, math.Inf(-1), Inf},
		{"empty scale", Scale{Low: 2, High: 2}, 2, 0},
	} {
		if got := tc.s.Cell(tc.v); got != tc.want {
			t.Errorf("%s: Cell(%v) = %d, want %d", tc.name, tc.v, got, tc.want)
		}
	}
	if low, high := open.Ends(); low != 0.064 || high != 64 {
		t.Errorf("ends %v, %v", low, high)
	}
}
