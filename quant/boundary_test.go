package quant

import (
	"math"
	"testing"
)

// Dead zones of NF4 as listed in units of absmax, to six digits.
func TestDeadZoneNF4(t *testing.T) {
	zones := []float64{
		0.151904, 0.085560, 0.065078, 0.055238, 0.049834, 0.046862, 0.045525, 0.039790,
		0.040675, 0.042591, 0.045901, 0.051397, 0.060954, 0.080170, 0.138522,
	}
	for code := range 16 {
		down, up := DeadZone(NF4, CPU, uint8(code))
		if code == 0 && down != inf || code > 0 && math.Abs(float64(down)-zones[code-1]) > 1e-6 {
			t.Errorf("code %d: down %v", code, down)
		}
		if code == 15 && up != inf || code < 15 && math.Abs(float64(up)-zones[code]) > 1e-6 {
			t.Errorf("code %d: up %v", code, up)
		}
	}
}

// A weight that moves by less than its dead zone keeps its code, by a little
// more it does not.
func TestDeadZoneHolds(t *testing.T) {
	for _, f := range []Format{NF4, FP4} {
		for _, p := range profiles {
			r := ruleOf(f, p)
			for code := range uint8(16) {
				v := CodeValue(f, code)
				down, up := DeadZone(f, p, code)
				for _, c := range []struct {
					by   float32
					stay bool
				}{{-down * 0.999, true}, {up * 0.999, true}, {-down * 1.001, false}, {up * 1.001, false}} {
					if !finite(c.by) {
						continue
					}
					if got := CodeValue(f, r.code(v+c.by)); (got == v) != c.stay {
						t.Errorf("%s %s: %v moved by %v becomes %v", f, p, v, c.by, got)
					}
				}
			}
		}
	}
}

func TestDeadZoneOthers(t *testing.T) {
	for _, c := range []struct {
		q        int8
		down, up float32
	}{{0, 0.5, 0.5}, {127, 0.5, inf}, {-127, inf, 0.5}} {
		if down, up := DeadZone(Int8, CPU, uint8(c.q)); down != c.down || up != c.up {
			t.Errorf("int8 %d: %v %v", c.q, down, up)
		}
	}
	if down, up := DeadZone(BF16, CPU, 0); down == down || up == up {
		t.Errorf("bf16: %v %v, want NaN", down, up)
	}
}

func TestBoundariesOthers(t *testing.T) {
	b := Boundaries(Int8, CPU)
	if len(b) != 254 || b[0] != -126.5 || b[127] != 0.5 || b[253] != 126.5 {
		t.Errorf("%d bounds of int8: %v ... %v", len(b), b[0], b[len(b)-1])
	}
	if b := Boundaries(F32, CPU); b != nil {
		t.Errorf("bounds of f32: %v", b)
	}
}

func TestUnit(t *testing.T) {
	for _, c := range []struct {
		f    Format
		want float32
	}{{NF4, 254}, {FP4, 254}, {Int8, 2}, {F16, 1}} {
		if got := Unit(c.f, 254); math.Abs(float64(got-c.want)) > 1e-6 {
			t.Errorf("%s: %v, want %v", c.f, got, c.want)
		}
	}
	neg := int8(-5)
	if got := CodeValue(Int8, uint8(neg)); got != -5 {
		t.Errorf("int8 -5 is %v", got)
	}
}
