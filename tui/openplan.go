package tui

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"mergescope/loader"
	"mergescope/merge"
)

// absolute returns a path that means the same from any directory. Names that
// are no files here, such as those of a cache, stay as they are; so do the parts
// of a combination that are none.
func absolute(name string) string {
	if c, parts, ok, err := merge.ParseCombinedPath(name); ok && err == nil {
		for i := range parts {
			parts[i].Path = absolute(parts[i].Path)
		}
		return merge.CombinedPath(c, parts)
	}
	if _, err := os.Stat(name); err != nil {
		return name
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return name
	}
	return path
}

// withAbsolute returns a plan whose adapters are found from any directory.
func withAbsolute(plan merge.Plan) merge.Plan {
	plan.Adapters = slices.Clone(plan.Adapters)
	for i := range plan.Adapters {
		plan.Adapters[i].Path = absolute(plan.Adapters[i].Path)
	}
	return plan
}

// openPlan opens the adapters of a plan that are not open yet. The plan it
// returns calls each adapter by the name it has here. Adapters that cannot be
// opened are left out of it and joined in the error; the caller decides whether
// the rest will do. It must close what is in fresh.
func openPlan(src loader.Source, model *loader.Checkpoint, open []*loader.Adapter, plan merge.Plan) (_ merge.Plan, fresh []*loader.Adapter, err error) {
	names := map[string]string{} // of the plan, to those here
	var lost []string
	for _, ref := range plan.Adapters {
		same := func(ad *loader.Adapter) bool { return absolute(ad.Path) == absolute(ref.Path) }
		all := append(slices.Clone(open), fresh...)
		if i := slices.IndexFunc(all, same); i >= 0 {
			names[ref.Name] = all[i].Name
			continue
		}
		ad, e := merge.OpenAdapter(src, model, ref.Path)
		if e != nil {
			err = errors.Join(err, e)
			lost = append(lost, ref.Name)
			continue
		}
		ad.Name = freeName(ref.Name, all)
		names[ref.Name] = ad.Name
		fresh = append(fresh, ad)
	}
	for _, name := range lost {
		plan = plan.WithoutAdapter(name)
	}
	return renamed(plan, names), fresh, err
}

// freeName returns a name that no adapter has: with a number, if it must be.
func freeName(name string, taken []*loader.Adapter) string {
	free := name
	for n := 2; slices.ContainsFunc(taken, func(ad *loader.Adapter) bool { return ad.Name == free }); n++ {
		free = fmt.Sprintf("%s-%d", name, n)
	}
	return free
}

// renamed returns a plan with other names for its adapters.
func renamed(plan merge.Plan, names map[string]string) merge.Plan {
	plan.Adapters, plan.Rules = slices.Clone(plan.Adapters), slices.Clone(plan.Rules)
	for i, ad := range plan.Adapters {
		plan.Adapters[i].Name = names[ad.Name]
	}
	for i, r := range plan.Rules {
		if r.Adapter != "" {
			plan.Rules[i].Adapter = names[r.Adapter]
		}
	}
	return plan
}

// closeAll closes adapters that nothing uses.
func closeAll(adapters []*loader.Adapter) {
	for _, ad := range adapters {
		_ = ad.Close() // read only: nothing is lost
	}
}
