package account

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"beffroi/matrix"
	"beffroi/matrix/canonicaljson"
	"beffroi/storage"
	"beffroi/storage/users"
)

// The fields of a profile that go into member events.
const (
	FieldDisplayName = "displayname"
	FieldAvatarURL   = "avatar_url"
)

const (
	// maxDisplayNameBytes bounds what every member event of the account carries.
	maxDisplayNameBytes = 256
	// maxAvatarBytes bounds the address of an avatar.
	maxAvatarBytes = 1000
	// maxFieldNameBytes and maxProfileBytes are those of the specification.
	maxFieldNameBytes = 255
	maxProfileBytes   = 64 << 10
	maxProfileFields  = 100
)

// Profile returns the profile of an account of ours, or M_NOT_FOUND.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuserid
func (s *Server) Profile(ctx context.Context, user matrix.UserID) (map[string]json.RawMessage, error) {
	var fields map[string]string
	err := s.DB.View(ctx, func(r *storage.Reader) (err error) {
		if _, err = s.account(ctx, r, user); err != nil {
			return err
		}
		fields, err = users.Profile(ctx, r, user)
		return err
	})
	out := make(map[string]json.RawMessage, len(fields))
	for field, value := range fields {
		out[field] = json.RawMessage(value)
	}
	return out, err
}

// SetProfileField changes one field; nil removes it. What is not of the form
// of the field is M_INVALID_PARAM, and what is too much M_KEY_TOO_LARGE or
// M_PROFILE_TOO_LARGE. The change takes a position in the log: see
// [Server.ProfileChanges].
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3profileuseridkeyname
func (s *Server) SetProfileField(ctx context.Context, user matrix.UserID, field string, value json.RawMessage) error {
	text, err := profileValue(field, value)
	if err != nil {
		return err
	}
	return s.append(ctx, "", func(ctx context.Context, tx *storage.Tx) error {
		if _, err := s.account(ctx, &tx.Reader, user); err != nil {
			return err
		}
		have, err := users.Profile(ctx, &tx.Reader, user)
		if err != nil || have[field] == text {
			return err
		}
		have[field] = text
		size := 0
		for name, value := range have {
			size += len(name) + len(value) + len(`"":,`)
		}
		if text != "" && (size > maxProfileBytes || len(have) > maxProfileFields) {
			return matrix.NewError(http.StatusBadRequest, "M_PROFILE_TOO_LARGE", "A profile has at most %d bytes and %d fields",
				maxProfileBytes, maxProfileFields)
		}
		return users.SetProfileField(ctx, tx, user, field, text)
	})
}

// profileValue checks a field and returns its canonical value, "" to remove it.
func profileValue(field string, value json.RawMessage) (string, error) {
	if field == "" || len(field) > maxFieldNameBytes {
		return "", matrix.NewError(http.StatusBadRequest, "M_KEY_TOO_LARGE", "The name of a field has 1 to %d bytes", maxFieldNameBytes)
	}
	if !plain(field, maxFieldNameBytes) {
		return "", matrix.InvalidParam("the name of a field has no control characters")
	}
	if value == nil {
		return "", nil
	}
	if len(value) > maxProfileBytes {
		return "", matrix.NewError(http.StatusBadRequest, "M_PROFILE_TOO_LARGE", "A profile has at most %d bytes", maxProfileBytes)
	}
	canonical, err := canonicaljson.Canonicalise(value, canonicaljson.Strict)
	if err != nil {
		return "", err
	}
	if field != FieldDisplayName && field != FieldAvatarURL {
		return string(canonical), nil
	}
	if string(canonical) == "null" { // old clients remove a name so
		return "", nil
	}
	text, ok := canonicaljson.Unquote(canonical)
	switch {
	case !ok:
		return "", matrix.InvalidParam("%s must be a string", field)
	case text == "":
		return "", nil
	case field == FieldDisplayName && len(text) > maxDisplayNameBytes:
		return "", matrix.InvalidParam("a display name has at most %d bytes", maxDisplayNameBytes)
	case strings.ContainsRune(text, 0):
		return "", matrix.InvalidParam("%s has a NUL", field)
	case field == FieldAvatarURL && (len(text) > maxAvatarBytes || !strings.HasPrefix(text, "mxc://")):
		return "", matrix.InvalidParam("an avatar is an mxc:// URI of at most %d bytes", maxAvatarBytes)
	}
	return string(canonical), nil
}

// ProfileChanges returns at most limit changes of profiles after a position,
// in order, for a follower that turns them into member events. Of several
// changes of one field it knows the last.
func (s *Server) ProfileChanges(ctx context.Context, after storage.Position, limit int) (list []users.ProfileChange, err error) {
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		list, err = users.ProfileChanges(ctx, r, after, limit)
		return err
	})
	return list, err
}
