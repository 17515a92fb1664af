package loader

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"mergescope/quant"
)

// tuner is a kind of adapter that is no LoRA: the tensors of its modules, by the
// component of the key that follows the module's path, and the fields of its
// configuration (peft/tuners/NAME/layer.py and config.py).
type tuner struct {
	roles  []string // of a module
	shared []string // of the adapter, under "base_model."
	needs  []string // roles without which a module cannot be merged
	rank   int      // default of r
	alpha  float64  // default of the field that scales
	field  string   // name of that field, "" if the tuner has none
}

var tuners = map[string]tuner{
	"HIRA":        {roles: []string{"hira_A", "hira_B", "hira_embedding_A", "hira_embedding_B"}, rank: 32},
	"VERA":        {roles: []string{"vera_lambda_b", "vera_lambda_d"}, shared: []string{"vera_A", "vera_B"}, needs: []string{"vera_lambda_b", "vera_lambda_d", "vera_A", "vera_B"}, rank: 256},
	"PVERA":       {roles: []string{"pvera_lambda_b", "pvera_lambda_d"}, shared: []string{"pvera_A", "pvera_B"}, needs: []string{"pvera_lambda_b", "pvera_lambda_d", "pvera_A", "pvera_B"}, rank: 256},
	"RANDLORA":    {roles: []string{"randlora_lambda", "randlora_gamma"}, shared: []string{"randlora_A", "randlora_B"}, needs: []string{"randlora_lambda", "randlora_gamma", "randlora_A", "randlora_B"}, rank: 32, alpha: 640, field: "randlora_alpha"},
	"LOHA":        {roles: []string{"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"}, needs: []string{"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}, rank: 8, alpha: 8, field: "alpha"},
	"LOKR":        {roles: []string{"lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"}, rank: 8, alpha: 8, field: "alpha"},
	"IA3":         {roles: []string{"ia3_l"}, needs: []string{"ia3_l"}},
	"BOFT":        {roles: []string{"boft_R", "boft_s"}, needs: []string{"boft_R", "boft_s"}},
	"OFT":         {roles: []string{"oft_R", "oft_embedding_R"}, needs: []string{"oft_R"}},
	"ROAD":        {roles: []string{"road_theta", "road_alpha"}, needs: []string{"road_theta", "road_alpha"}},
	"MISS":        {roles: []string{"miss_block"}, needs: []string{"miss_block"}, rank: 64},
	"SHIRA":       {roles: []string{"shira_weight", "shira_indices"}, needs: []string{"shira_weight", "shira_indices"}, rank: 32},
	"FOURIERFT":   {roles: []string{"fourierft_spectrum"}, needs: []string{"fourierft_spectrum"}, alpha: 150, field: "scaling"},
	"WAVEFT":      {roles: []string{"waveft_spectrum"}, needs: []string{"waveft_spectrum"}, alpha: 25, field: "scaling"},
	"VBLORA":      {roles: []string{"vblora_logits_A", "vblora_logits_B", "vblora_logits_A_topk_indices", "vblora_logits_A_topk_weights", "vblora_logits_B_topk_indices", "vblora_logits_B_topk_weights"}, shared: []string{"vblora_vector_bank"}, needs: []string{"vblora_logits_A", "vblora_logits_B", "vblora_vector_bank"}, rank: 4},
	"GRALORA":     {roles: []string{"gralora_A", "gralora_B", "gralora_A_general", "gralora_B_general"}, needs: []string{"gralora_A", "gralora_B"}, rank: 32, alpha: 64, field: "alpha"},
	"C3A":         {roles: []string{"c3a_kernel"}, needs: []string{"c3a_kernel"}},
	"HRA":         {roles: []string{"hra_u"}, needs: []string{"hra_u"}, rank: 8},
	"DELORA":      {roles: []string{"delora_A", "delora_B", "delora_lambda", "delora_w_norm"}, needs: []string{"delora_A", "delora_B", "delora_lambda", "delora_w_norm"}, rank: 8},
	"DEFT":        {roles: []string{"deft_P", "deft_R"}, needs: []string{"deft_P"}, rank: 8, field: "alpha"},
	"SUPERTUNING": {roles: []string{"supertuning_values", "supertuning_indices", "supertuning_lora_A", "supertuning_lora_B"}, needs: []string{"supertuning_values", "supertuning_indices"}},
	"PEANUT":      {roles: []string{"peanut_A", "peanut_B"}, needs: []string{"peanut_A", "peanut_B"}, rank: 32, alpha: 1, field: "scaling"},
	"ADALORA":     {roles: []string{"lora_A", "lora_B", "lora_E", "lora_embedding_A", "lora_embedding_B"}, needs: []string{"lora_E"}, rank: 12, alpha: 8, field: "lora_alpha"},
}

// TunerConfig holds the fields of tuners other than LoRA that decide a merge. A
// field that is absent has PEFT's default.
type TunerConfig struct {
	Init        string // init_weights as text: "true", "bat", "mini" (MiSS)
	Saved       bool   // save_projection (VeRA, PVeRA, RandLoRA)
	Variant     string // road_1, road_2, road_4 (RoAd)
	GroupSize   int    // RoAd
	COFT        bool   // OFT
	BlockShare  bool   // OFT
	Cayley      bool   // use_cayley_neumann (OFT)
	CayleyTerms int    // num_cayley_neumann_terms (OFT)
	LocSeed     int64  // random_loc_seed (FourierFT, WaveFT)
	Wavelet     string // wavelet_family (WaveFT)
	IDWT        bool   // use_idwt (WaveFT)
	TopK        int    // topk (VB-LoRA)
	Blocks      int    // gralora_k (GraLoRA)
	GramSchmidt bool   // apply_GS (HRA)
	Decompose   string // decomposition_method: "relu" or "qr" (DEFT)
	Removal     bool   // para: nothing is injected (DEFT)
	Activation  string // act_fn (PEANuT)
	Depth       int64  // hidden layers on either side (PEANuT)
}

func defaultTuner() TunerConfig {
	return TunerConfig{
		Init: "true", Saved: true, Variant: "road_1", GroupSize: 64, Cayley: true, CayleyTerms: 5, LocSeed: 777, Wavelet: "db1", IDWT: true,
		TopK: 2, Blocks: 2, Decompose: "relu", Activation: "relu",
	}
}

// tunerField returns the reader of a field that a tuner other than LoRA has, or
// has with another meaning than LoRA. A nil reader means that it is not kept.
func (c *AdapterConfig) tunerField(key string) (read func(*scanner) error, special bool) {
	known, ok := tuners[c.PeftType]
	if !ok {
		return nil, slices.Contains([]string{"r", "bias", "lora_alpha", "use_rslora", "use_dora", "lora_bias", "rank_pattern", "alpha_pattern"}, key)
	}
	t := &c.Tuner
	switch key {
	case known.field:
		return c.readAlpha, true
	case "bias":
		return readText(&c.Bias), true
	case "lora_alpha", "use_rslora", "use_dora", "lora_bias":
		return nil, true
	case "r":
		if known.rank == 0 || c.PeftType == "ADALORA" {
			return nil, true
		}
	case "init_r":
		if c.PeftType == "ADALORA" {
			return c.readRank, true
		}
	case "rank_pattern", "alpha_pattern":
		return nil, !slices.Contains([]string{"LOHA", "LOKR"}, c.PeftType)
	case "init_weights":
		return readTruth(&t.Init), true
	case "save_projection":
		return readBool(&t.Saved), true
	case "variant":
		return readText(&t.Variant), true
	case "group_size":
		return readSize(&t.GroupSize), true
	case "coft":
		return readBool(&t.COFT), true
	case "block_share":
		return readBool(&t.BlockShare), true
	case "use_cayley_neumann":
		return readBool(&t.Cayley), true
	case "num_cayley_neumann_terms":
		return readSize(&t.CayleyTerms), true
	}
	return t.field(key)
}

// field is the rest of tunerField.
func (t *TunerConfig) field(key string) (read func(*scanner) error, special bool) {
	switch key {
	case "random_loc_seed":
		return readInteger(&t.LocSeed), true
	case "wavelet_family":
		return readText(&t.Wavelet), true
	case "use_idwt":
		return readBool(&t.IDWT), true
	case "topk":
		return readSize(&t.TopK), true
	case "gralora_k":
		return readSize(&t.Blocks), true
	case "apply_GS":
		return readBool(&t.GramSchmidt), true
	case "decomposition_method":
		return readText(&t.Decompose), true
	case "para":
		return readBool(&t.Removal), true
	case "act_fn":
		return readText(&t.Activation), true
	case "depth":
		return readInteger(&t.Depth), true
	}
	return nil, false
}

// readTruth reads a string, or true or false as text.
func readTruth(dst *string) func(*scanner) error {
	return func(s *scanner) error {
		if s.peek() == '"' {
			return readText(dst)(s)
		}
		v, err := s.boolean()
		*dst = fmt.Sprint(v)
		return err
	}
}

func readInteger(dst *int64) func(*scanner) error {
	return func(s *scanner) (err error) {
		*dst, err = s.integer()
		return err
	}
}

func readSize(dst *int) func(*scanner) error {
	return func(s *scanner) error {
		v, err := positive(s)
		*dst = int(v)
		return err
	}
}

// groupTuner is group for an adapter that is no LoRA. What no role fits stays
// in Others.
func (a *Adapter) groupTuner() error {
	kind := a.Config.PeftType
	known := tuners[kind]
	modules := map[string]*Module{}
	shared := map[string]*Tensor{}
	var rest []*Tensor
	for _, t := range a.File.Tensors {
		if role, ok := strings.CutPrefix(t.Name, "base_model."); ok && slices.Contains(known.shared, role) {
			shared[role] = t
			continue
		}
		path, role, ok := known.key(strings.TrimPrefix(t.Name, peftPrefix))
		if !ok {
			rest = append(rest, t)
			continue
		}
		m := modules[path]
		if m == nil {
			m = &Module{Path: path, Tuner: kind, Params: map[string]*Tensor{}, Alpha: a.Config.Alpha, Scale: 1}
			modules[path] = m
			a.Modules = append(a.Modules, m)
		}
		m.Params[role] = t
	}
	for _, m := range a.Modules {
		maps.Copy(m.Params, shared)
		m.factors()
		if err := m.checkTuner(&a.Config, known); err != nil {
			return err
		}
	}
	slices.SortFunc(a.Modules, func(x, y *Module) int { return NaturalCompare(x.Path, y.Path) })
	for _, t := range rest {
		a.Others = append(a.Others, a.replaced(t))
	}
	slices.SortStableFunc(a.Others, func(x, y *Replaced) int { return NaturalCompare(x.Tensor.Name, y.Tensor.Name) })
	return nil
}

// HasProjections reports whether the file holds the projections that all modules
// of the adapter's tuner share; true for tuners without.
func (a *Adapter) HasProjections() bool {
	for _, role := range tuners[a.Config.PeftType].shared {
		for _, m := range a.Modules {
			if m.Params[role] == nil {
				return false
			}
		}
	}
	return true
}

// key takes a key apart into module path and role.
func (k tuner) key(name string) (path, role string, ok bool) {
	name = strings.TrimSuffix(name, ".weight")
	dot := strings.LastIndexByte(name, '.')
	if dot <= 0 || !slices.Contains(k.roles, name[dot+1:]) {
		return "", "", false
	}
	return strings.ReplaceAll(name[:dot], baseLayer, ""), name[dot+1:], true
}

// factors names the two factors of a product, where a tuner has them.
func (m *Module) factors() {
	prefix := map[string]string{"HIRA": "hira_", "ADALORA": "lora_"}[m.Tuner]
	if prefix == "" {
		return
	}
	m.A, m.B = m.Params[prefix+"A"], m.Params[prefix+"B"]
	if m.A == nil && m.B == nil {
		m.A, m.B = m.Params[prefix+"embedding_A"], m.Params[prefix+"embedding_B"]
		m.Embedding = true
	}
}

// checkTuner finds tensors that are missing or of a type no arithmetic is done
// on, and sets rank and scale as PEFT does.
func (m *Module) checkTuner(c *AdapterConfig, known tuner) error {
	for _, role := range known.needs {
		if m.Params[role] != nil {
			continue
		}
		if slices.Contains(known.shared, role) && !c.Tuner.Saved {
			m.problem(m.first(), "save_projection is false: %s is not in the file. PEFT draws it again from projection_prng_key with torch's generator, "+
				"which it says \"may not be accurate on all system configurations\"; save the adapter with save_projection=True", role)
		}
		m.problem(m.first(), "%s is missing", role)
	}
	if slices.Contains([]string{"HIRA", "ADALORA"}, m.Tuner) && (m.A == nil || m.B == nil) {
		m.problem(m.first(), "the factor A or B is missing")
	}
	for _, t := range m.tensors() {
		if formatOf(t.DType) == quant.Unknown && (m.Tuner != "SHIRA" && m.Tuner != "SUPERTUNING" || t.DType != "I32" && t.DType != "I64") {
			m.problem(t, "dtype %s, want F32, F16 or BF16", t.DType)
		}
	}
	if m.A != nil && len(m.A.Shape) > 0 {
		m.Rank = int(m.A.Shape[0])
	}
	switch m.Tuner {
	case "ADALORA":
		m.Scale = m.Alpha // resizing leaves init_r in ranknum, by which the merge divides
		if m.Alpha <= 0 {
			m.Scale = float64(c.R)
		}
	case "LOHA", "LOKR", "RANDLORA":
		return m.ratio(c)
	case "FOURIERFT", "WAVEFT", "PEANUT":
		m.Scale = m.Alpha // the field is named scaling
	case "GRALORA":
		m.Scale = m.Alpha / float64(c.R+m.rows("gralora_A_general"))
	case "DEFT":
		if r := m.rows("deft_R"); c.HasAlpha && r > 0 && m.Alpha != 0 {
			m.Scale = m.Alpha / float64(r)
		}
	}
	return nil
}

// rows is the first dimension of a parameter, 0 if it has none.
func (m *Module) rows(role string) int {
	if t := m.Params[role]; t != nil && len(t.Shape) > 0 {
		return int(t.Shape[0])
	}
	return 0
}

// ratio sets alpha/r after the patterns.
func (m *Module) ratio(c *AdapterConfig) error {
	r, ok, err := lookup(c.RankPattern, m.Path)
	if err != nil {
		return fmt.Errorf("field \"rank_pattern\": %w", err)
	}
	if !ok {
		r = float64(c.R)
	}
	alpha, ok, err := lookup(c.AlphaPattern, m.Path)
	if err != nil {
		return fmt.Errorf("field \"alpha_pattern\": %w", err)
	}
	if ok {
		m.Alpha = alpha
	}
	m.Rank, m.Scale = int(r), m.Alpha/r
	if math.IsNaN(m.Scale) {
		m.problem(m.first(), "no scale: alpha %g, rank %g", m.Alpha, r)
	}
	return nil
}

// tensors returns the parameters in the order of their names.
func (m *Module) tensors() []*Tensor {
	var out []*Tensor
	for _, role := range slices.Sorted(maps.Keys(m.Params)) {
		out = append(out, m.Params[role])
	}
	return out
}

// first returns a parameter to blame, nil if there is none.
func (m *Module) first() *Tensor {
	if list := m.tensors(); len(list) > 0 {
		return list[0]
	}
	return nil
}
