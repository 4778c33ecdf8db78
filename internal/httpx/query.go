package httpx

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"beffroi/matrix"
)

// QueryInt returns a number from the query, or fallback where it is absent.
// What is not a number between lowest and highest is M_INVALID_PARAM.
func QueryInt(r *http.Request, name string, fallback, lowest, highest int64) (int64, error) {
	value := r.URL.Query().Get(name)
	if value == "" {
		return fallback, nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < lowest || n > highest {
		return 0, matrix.InvalidParam("%s must be a number between %d and %d", name, lowest, highest)
	}
	return n, nil
}

// QueryLimit returns how many items the peer wants: fallback where it does not
// say, at most highest whatever it says. A negative number is M_INVALID_PARAM.
func QueryLimit(r *http.Request, name string, fallback, highest int) (int, error) {
	const unbounded = 1 << 53
	n, err := QueryInt(r, name, int64(fallback), 0, unbounded)
	return int(min(n, int64(highest))), err
}

// QueryBool returns true or false from the query, or fallback where it is
// absent. All other words are M_INVALID_PARAM.
func QueryBool(r *http.Request, name string, fallback bool) (bool, error) {
	switch r.URL.Query().Get(name) {
	case "":
		return fallback, nil
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, matrix.InvalidParam("%s must be true or false", name)
}

// QueryEnum returns one of the allowed words from the query, or fallback where
// it is absent. All other words are M_INVALID_PARAM.
func QueryEnum(r *http.Request, name, fallback string, allowed ...string) (string, error) {
	value := r.URL.Query().Get(name)
	if value == "" {
		return fallback, nil
	}
	if !slices.Contains(allowed, value) {
		return "", matrix.InvalidParam("%s must be one of %s", name, strings.Join(allowed, ", "))
	}
	return value, nil
}

// QueryRequired returns a value from the query, or M_MISSING_PARAM.
func QueryRequired(r *http.Request, name string) (string, error) {
	value := r.URL.Query().Get(name)
	if value == "" {
		return "", matrix.MissingParam("the query lacks %s", name)
	}
	return value, nil
}
