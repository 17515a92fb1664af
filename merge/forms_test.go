package merge_test

import "testing"

// TestFormsConformance merges what adapters hold beside A and B, and modules
// without tensors, as PEFT did.
func TestFormsConformance(t *testing.T) {
	walkGolden(t, "../testdata/golden-forms", (*goldenCase).verdict)
}
