package config

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, written such as 512KB, 128MB or 2GB.
type Size int64

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{{"KB", 1 << 10}, {"MB", 1 << 20}, {"GB", 1 << 30}, {"B", 1}} // B last: it ends the others

// UnmarshalText reads a size. A unit of its own has a factor of 1,024.
func (s *Size) UnmarshalText(text []byte) error {
	for _, unit := range sizeUnits {
		number, found := strings.CutSuffix(strings.ToUpper(string(text)), unit.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/unit.bytes {
			break
		}
		*s = Size(n * unit.bytes)
		return nil
	}
	return fmt.Errorf("%q is not a size such as 128MB", text)
}

// MarshalText writes the size with the greatest unit that fits.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s Size) String() string {
	for _, unit := range []int{2, 1, 0} { // GB, MB, KB
		if u := sizeUnits[unit]; s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

var durationType = reflect.TypeFor[time.Duration]()

// set reads text into a field. A list has to be set with [setList].
func set(field reflect.Value, text string) error {
	if u, ok := field.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	if field.Type() == durationType {
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is not a time such as 30s or 5m", text)
		}
		field.SetInt(int64(d))
		return nil
	}
	switch field.Kind() {
	case reflect.String:
		field.SetString(text)
	case reflect.Bool:
		switch text {
		case "true", "false":
			field.SetBool(text == "true")
		default:
			return fmt.Errorf("%q is neither true nor false", text)
		}
	case reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is not a number", text)
		}
		field.SetInt(int64(n))
	default:
		panic("config: a field of type " + field.Type().String())
	}
	return nil
}

// setList replaces a list.
func setList(field reflect.Value, texts []string) error {
	list := reflect.MakeSlice(field.Type(), len(texts), len(texts))
	for i, text := range texts {
		if err := set(list.Index(i), text); err != nil {
			return err
		}
	}
	field.Set(list)
	return nil
}

// splitList reads a list from the environment or a flag.
func splitList(text string) []string {
	var out []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// format is the opposite of set and of splitList.
func format(field reflect.Value) string {
	if field.Kind() == reflect.Slice {
		texts := make([]string, field.Len())
		for i := range texts {
			texts[i] = format(field.Index(i))
		}
		return strings.Join(texts, ",")
	}
	return fmt.Sprint(field.Interface())
}
