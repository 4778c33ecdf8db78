// Package arch holds the architecture as tests: who may import whom, where
// policy is asked, where SQL stands, how long a file may be. tables_test.go is
// the picture; changing the picture means changing that file.
package arch
