// Package fuzz has the fuzz tests of package schema. They are apart from its other tests, because fuzzing builds a
// package and everything that its tests import with instrumentation.
package fuzz
