package clientapi

import (
	"context"
	"encoding/json"
	"net/http"

	"beffroi/account"
	"beffroi/internal/httpx"
	"beffroi/matrix"
)

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridaccount_datatype
func (s *Server) accountData(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.Raw, error) {
	if r.PathValue("type") == account.TypePushRules {
		return s.pushRulesData(ctx, who)
	}
	content, err := s.Accounts.AccountData(ctx, who.User, "", r.PathValue("type"))
	return httpx.Raw(content), err
}

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridaccount_datatype
func (s *Server) setAccountData(ctx context.Context, who *caller, r *http.Request, content json.RawMessage) (httpx.None, error) {
	typ := r.PathValue("type")
	err := s.Accounts.SetAccountData(ctx, who.User, "", typ, orEmpty(content))
	if err == nil && typ == typeIgnored {
		s.Rooms.PushRulesChanged(who.User)
	}
	return httpx.None{}, err
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidaccount_datatype
func (s *Server) roomAccountData(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.Raw, error) {
	room, err := roomID(r)
	if err != nil {
		return nil, err
	}
	content, err := s.Accounts.AccountData(ctx, who.User, room, r.PathValue("type"))
	return httpx.Raw(content), err
}

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridroomsroomidaccount_datatype
func (s *Server) setRoomAccountData(ctx context.Context, who *caller, r *http.Request, content json.RawMessage) (httpx.None, error) {
	room, err := roomID(r)
	if err != nil {
		return httpx.None{}, err
	}
	return httpx.None{}, s.Accounts.SetAccountData(ctx, who.User, room, r.PathValue("type"), orEmpty(content))
}

// orEmpty returns the object that an absent body stands for.
func orEmpty(content json.RawMessage) json.RawMessage {
	if len(content) == 0 {
		return json.RawMessage("{}")
	}
	return content
}

// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter
func (s *Server) addFilter(ctx context.Context, who *caller, _ *http.Request, filter json.RawMessage) (map[string]string, error) {
	id, err := s.Accounts.AddFilter(ctx, who.User, orEmpty(filter))
	return map[string]string{"filter_id": id}, err
}

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridfilterfilterid
func (s *Server) filter(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.Raw, error) {
	content, err := s.Accounts.Filter(ctx, who.User, r.PathValue("filterID"))
	return httpx.Raw(content), err
}

// tags of a room are one entry of account data, m.tag.
type tags struct {
	Tags map[string]json.RawMessage `json:"tags"`
}

const (
	typeTag     = "m.tag"
	typeIgnored = "m.ignored_user_list"
)

// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidtags
func (s *Server) tags(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (tags, error) {
	room, err := roomID(r)
	if err != nil {
		return tags{}, err
	}
	return s.readTags(ctx, who, room)
}

func (s *Server) readTags(ctx context.Context, who *caller, room matrix.RoomID) (tags, error) {
	none := tags{map[string]json.RawMessage{}}
	content, err := s.Accounts.AccountData(ctx, who.User, room, typeTag)
	if matrix.IsCode(err, "M_NOT_FOUND") {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	var found tags
	if json.Unmarshal(content, &found) != nil || found.Tags == nil {
		return none, nil // a client wrote something else there
	}
	return found, nil
}

// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridroomsroomidtagstag
func (s *Server) setTag(ctx context.Context, who *caller, r *http.Request, info json.RawMessage) (httpx.None, error) {
	return s.changeTags(ctx, who, r, func(t tags) { t.Tags[r.PathValue("tag")] = orEmpty(info) })
}

// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3useruseridroomsroomidtagstag
func (s *Server) deleteTag(ctx context.Context, who *caller, r *http.Request, _ httpx.None) (httpx.None, error) {
	return s.changeTags(ctx, who, r, func(t tags) { delete(t.Tags, r.PathValue("tag")) })
}

func (s *Server) changeTags(ctx context.Context, who *caller, r *http.Request, change func(tags)) (httpx.None, error) {
	room, err := roomID(r)
	if err != nil {
		return httpx.None{}, err
	}
	if len(r.PathValue("tag")) > matrix.MaxIDBytes {
		return httpx.None{}, matrix.InvalidParam("a tag has at most %d bytes", matrix.MaxIDBytes)
	}
	defer s.edits.lock(who.User)()
	now, err := s.readTags(ctx, who, room)
	if err != nil {
		return httpx.None{}, err
	}
	change(now)
	raw, err := json.Marshal(now)
	if err != nil {
		return httpx.None{}, err
	}
	return httpx.None{}, s.Accounts.SetAccountData(ctx, who.User, room, typeTag, raw)
}
