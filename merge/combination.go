package merge

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Combination says how several adapters become one before the merge: PEFT's
// LoraModel.add_weighted_adapter.
type Combination struct {
	Type      string  // one of CombinationTypes
	Density   float64 // share of values kept by ties, dare and magnitude_prune
	Frequency bool    // ties elects signs by count instead of by sum
	Rank      int     // of the svd types; 0 means the largest rank
	Seed      uint64  // of dare
}

// CombinationTypes lists the combination types of PEFT 0.21.
func CombinationTypes() []string {
	return []string{
		"linear", "cat", "svd", "ties", "ties_svd", "dare_linear", "dare_ties",
		"dare_linear_svd", "dare_ties_svd", "magnitude_prune", "magnitude_prune_svd",
	}
}

// ParseCombination reads "TYPE[,density=D][,majority=total|frequency][,rank=R][,seed=N]".
func ParseCombination(text string) (Combination, error) {
	parts := strings.Split(text, ",")
	c := Combination{Type: parts[0], Density: math.NaN()}
	if !slices.Contains(CombinationTypes(), c.Type) {
		return c, fmt.Errorf("combination %q: want one of %s", c.Type, strings.Join(CombinationTypes(), ", "))
	}
	for _, p := range parts[1:] {
		key, value, _ := strings.Cut(p, "=")
		if err := c.set(key, value); err != nil {
			return c, fmt.Errorf("combination %s: %s: %w", c.Type, p, err)
		}
	}
	if c.prunes() && math.IsNaN(c.Density) {
		return c, fmt.Errorf("combination %s needs density=D, the share of values to keep", c.Type)
	}
	return c, nil
}

func (c *Combination) set(key, value string) (err error) {
	switch key {
	case "density":
		c.Density, err = strconv.ParseFloat(value, 64)
		if err == nil && !(c.Density >= 0) {
			err = fmt.Errorf("density should be >= 0, got %s", value)
		}
	case "majority":
		if c.Frequency = value == "frequency"; !c.Frequency && value != "total" {
			err = fmt.Errorf("want total or frequency")
		}
	case "rank":
		if c.Rank, err = strconv.Atoi(value); err == nil && c.Rank < 1 {
			err = fmt.Errorf("want a positive rank")
		}
	case "seed":
		c.Seed, err = strconv.ParseUint(value, 10, 64)
	default:
		err = fmt.Errorf("want density, majority, rank or seed")
	}
	return err
}

// String is the inverse of ParseCombination.
func (c Combination) String() string {
	s := c.Type
	if c.prunes() {
		s += ",density=" + strconv.FormatFloat(c.Density, 'g', -1, 64)
	}
	if c.Frequency {
		s += ",majority=frequency"
	}
	if c.Rank > 0 {
		s += ",rank=" + strconv.Itoa(c.Rank)
	}
	if c.random() {
		s += ",seed=" + strconv.FormatUint(c.Seed, 10)
	}
	return s
}

// CombinationTakes says which options a combination type has.
type CombinationTakes struct{ Density, Majority, Rank, Seed bool }

// Takes returns the options of the type.
func (c Combination) Takes() CombinationTakes {
	return CombinationTakes{Density: c.prunes(), Majority: c.ties(), Rank: c.svd(), Seed: c.random()}
}

func (c Combination) svd() bool    { return strings.HasSuffix(c.Type, "svd") }
func (c Combination) random() bool { return strings.HasPrefix(c.Type, "dare") }
func (c Combination) prunes() bool {
	return c.random() || c.ties() || strings.HasPrefix(c.Type, "magnitude")
}
func (c Combination) ties() bool { return strings.Contains(c.Type, "ties") }
