package matrix_test

import (
	"reflect"
	"strings"
	"testing"

	"beffroi/matrix"
)

// versionFacts is the table of the specification, a column a version. The code
// writes down what each version changed; this writes down what each one has.
//
// https://spec.matrix.org/v1.19/rooms/
const versionFacts = `
                            | 1  | 2  | 3   | 4  | 5  | 6  | 7  | 8  | 9  | 10 | 11 | 12
event ID                    | id | id | b64 | url| url| url| url| url| url| url| url| url
state resolution            | 1  | 2  | 2   | 2  | 2  | 2  | 2  | 2  | 2  | 2  | 2  | 2.1
StrictCanonicalJSON         | no | no | no  | no | no | yes| yes| yes| yes| yes| yes| yes
EnforceKeyValidity          | no | no | no  | no | yes| yes| yes| yes| yes| yes| yes| yes
IntegerPowerLevels          | no | no | no  | no | no | no | no | no | no | yes| yes| yes
FloatPowerLevels            | yes| yes| yes | yes| yes| no | no | no | no | no | no | no
NotificationsPowerLevelAuth | no | no | no  | no | no | yes| yes| yes| yes| yes| yes| yes
AliasesAuth                 | yes| yes| yes | yes| yes| no | no | no | no | no | no | no
RedactionAuth               | yes| yes| no  | no | no | no | no | no | no | no | no | no
EventIDSignature            | yes| yes| no  | no | no | no | no | no | no | no | no | no
KnockJoinRule               | no | no | no  | no | no | no | yes| yes| yes| yes| yes| yes
RestrictedJoinRule          | no | no | no  | no | no | no | no | yes| yes| yes| yes| yes
KnockRestrictedRule         | no | no | no  | no | no | no | no | no | no | yes| yes| yes
CreatorInContent            | yes| yes| yes | yes| yes| yes| yes| yes| yes| yes| no | no
PrivilegedCreators          | no | no | no  | no | no | no | no | no | no | no | no | yes
RoomIDIsCreateHash          | no | no | no  | no | no | no | no | no | no | no | no | yes
RedactionKeepsOrigin        | yes| yes| yes | yes| yes| yes| yes| yes| yes| yes| no | no
RedactionKeepsAllow         | no | no | no  | no | no | no | no | yes| yes| yes| yes| yes
RedactionKeepsAuthorised    | no | no | no  | no | no | no | no | no | yes| yes| yes| yes
UpdatedRedaction            | no | no | no  | no | no | no | no | no | no | no | yes| yes
RedactsInContent            | no | no | no  | no | no | no | no | no | no | no | yes| yes
greatest depth              | 63 | 63 | 63  | 63 | 63 | 53 | 53 | 53 | 53 | 53 | 53 | 53
`

func TestVersions(t *testing.T) {
	t.Parallel()
	lines := strings.Split(strings.TrimSpace(versionFacts), "\n")
	versions := strings.Split(lines[0], "|")[1:]
	if len(versions) != len(matrix.RoomVersions()) {
		t.Fatalf("%d versions, want %d", len(matrix.RoomVersions()), len(versions))
	}
	facts := make(map[string]bool)
	for _, line := range lines[1:] {
		cells := strings.Split(line, "|")
		property := strings.TrimSpace(cells[0])
		facts[property] = true
		for i, cell := range cells[1:] {
			version := matrix.RoomVersion(strings.TrimSpace(versions[i]))
			rules, err := version.Rules()
			if err != nil {
				t.Fatal(err)
			}
			if rules.Version != version || matrix.RoomVersions()[i] != version {
				t.Errorf("version %s calls itself %s", version, rules.Version)
			}
			if got, want := fact(rules, property), strings.TrimSpace(cell); got != want {
				t.Errorf("version %s: %s is %s, want %s", version, property, got, want)
			}
		}
	}
	typ := reflect.TypeFor[matrix.VersionRules]()
	for i := range typ.NumField() {
		if f := typ.Field(i); f.Type.Kind() == reflect.Bool && !facts[f.Name] {
			t.Errorf("%s is not in the table of this test", f.Name)
		}
	}
}

func fact(rules *matrix.VersionRules, property string) string {
	switch property {
	case "event ID":
		return map[matrix.EventFormat]string{matrix.EventFormatID: "id", matrix.EventFormatHash: "b64",
			matrix.EventFormatHashURL: "url"}[rules.EventFormat]
	case "state resolution":
		return map[matrix.StateResolution]string{matrix.StateResolutionV1: "1", matrix.StateResolutionV2: "2",
			matrix.StateResolutionV21: "2.1"}[rules.StateResolution]
	case "greatest depth":
		return map[int64]string{1<<63 - 1: "63", 1<<53 - 1: "53"}[rules.MaxDepth]
	}
	if reflect.ValueOf(*rules).FieldByName(property).Bool() {
		return "yes"
	}
	return "no"
}

func TestUnknownVersions(t *testing.T) {
	t.Parallel()
	for _, v := range []matrix.RoomVersion{"", "0", "13", "012", "org.example.1", " 12", matrix.RoomVersion(strings.Repeat("1", 1000))} {
		if rules, err := v.Rules(); rules != nil || !matrix.IsCode(err, "M_UNSUPPORTED_ROOM_VERSION") {
			t.Errorf("%.20q: %v", v, err)
		}
	}
	if matrix.DefaultRoomVersion != "12" {
		t.Errorf("the default is %s", matrix.DefaultRoomVersion)
	}
}
