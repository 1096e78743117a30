package doctor

import (
	"cmp"
	"slices"
)

// ProblemsFirst sorts findings: failures, then warnings, then the others in their order.
func ProblemsFirst(found []Finding) {
	rank := func(f Finding) int { return slices.Index([]Result{Warn, Fail}, f.Result) } // -1 for the others
	slices.SortStableFunc(found, func(a, b Finding) int { return cmp.Compare(rank(b), rank(a)) })
}

// OnlyProblems returns the failures and warnings.
func OnlyProblems(found []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(found), func(f Finding) bool { return f.Result != Fail && f.Result != Warn })
}
