package main

import (
	"encoding/json"
	"testing"
)

func TestPolicySchema(t *testing.T) {
	t.Parallel()
	out, err := runCommand(t, policyCommand(), "schema")
	var v struct {
		Title      string
		Properties map[string]any
	}
	if err != nil || json.Unmarshal([]byte(out), &v) != nil || v.Properties["organisations"] == nil {
		t.Errorf("%v\n%.300s", err, out)
	}
}
