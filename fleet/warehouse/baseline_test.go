package warehouse

import "testing"

func compareWithBaseline(t *testing.T, _ *fleet, _ string) { t.Helper() }
