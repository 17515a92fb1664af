package merge

import (
	"strings"
	"testing"
)

// TestPlanComments reads a plan with comments in every place and writes it back.
func TestPlanComments(t *testing.T) {
	const text = `// head
/* of the
   file */
{
  "version": 1, // the only one
  "model": "a//b", /* not "a" */
  "adapters": { // which
    // the style
    "style": {"path": "/*x*/"} // from May
  },
  // nearest codes
  "method": /* still */ "peft",
  "rules": [
    // everywhere
    {"match": "*", "adapter": "style", /* half */ "scale": 0.5},
    {"match": "down_proj", "output": "bf16"}, // loud
    // nothing after this
    {"match": "q_proj", "output": "keep"}
    // last words
  ]
  // really
} // end`
	const want = `// head
/* of the
file */
{
  // the only one
  "version": 1,
  /* not "a" */
  "model": "a//b",
  // which
  "adapters": {
    // the style
    // from May
    "style": {
      "path": "/*x*/"
    }
  },
  // nearest codes
  /* still */
  "method": "peft",
  "profile": "cpu",
  "rules": [
    // everywhere
    /* half */
    {
      "match": "*",
      "adapter": "style",
      "scale": 0.5
    },
    // loud
    {
      "match": "down_proj",
      "output": "bf16"
    },
    // nothing after this
    {
      "match": "q_proj",
      "output": "keep"
    }
  ]
}
// last words
// really
// end
`
	p, err := DecodePlan([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(p.Encode()); got != want {
		t.Errorf("written as\n%s", got)
	}
	again, err := DecodePlan(p.Encode())
	if err != nil || string(again.Encode()) != want || !again.Equal(p) {
		t.Errorf("not the same the second time: %v\n%s", err, again.Encode())
	}
	bare, err := DecodePlan(p.compact())
	if err != nil || bare.Digest() != p.Digest() || bare.annotated() {
		t.Errorf("comments are in the digest, or in the compact form: %v", err)
	}
	// Edits keep the comments of the rules they leave.
	if got := string(p.SetOutput(Keep, "model.layers.0.mlp.up_proj").SetMethodAll(Method{Kind: MethodSum}).Encode()); strings.Count(got, "//") != strings.Count(want, "//") {
		t.Errorf("comments lost:\n%s", got)
	}
}

// TestPlanCommentErrors: places in messages count the text with its comments.
func TestPlanCommentErrors(t *testing.T) {
	for text, want := range map[string]string{
		"// a\n{ /* b\n */ \"version\": 1, // c\n \"nix\": 2}": "line 4 column",
		"{\"version\": 1 / 2}":                                 "line 1 column",
		"{\"version\": 1} /* no end":                           "",
		"{\"version\": 1, \"model\": \"x":                      "the text ends here",
	} {
		_, err := DecodePlan([]byte(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
