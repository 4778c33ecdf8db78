package search

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"beffroi/matrix"
	"beffroi/storage"
	"beffroi/storage/rooms"
	"beffroi/storage/search"
)

const (
	// maxTerm bounds what one asks for, and maxTermWords its words.
	maxTerm      = 512
	maxTermWords = 10
	// maxCandidates bounds the people who are looked at for one answer.
	maxCandidates = 1000
)

// Person is somebody who was found.
type Person struct {
	User        matrix.UserID `json:"user_id"`
	DisplayName string        `json:"display_name,omitempty"`
	AvatarURL   string        `json:"avatar_url,omitempty"`
}

// People is the answer of a search for people.
type People struct {
	Limited bool     `json:"limited"`
	Results []Person `json:"results"`
}

// People finds people by the beginnings of the words of their names and IDs:
// those who share a room with the user, or are in one that anybody may find,
// or where so configured all of this server.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch
func (s *Server) People(ctx context.Context, user matrix.UserID, term string, limit int) (out People, err error) {
	out.Results = []Person{}
	if len(term) > maxTerm {
		return out, matrix.InvalidParam("search_term has at most %d bytes", maxTerm)
	}
	words := search.Words(term)
	words = words[:min(len(words), maxTermWords)]
	if len(words) == 0 || limit <= 0 {
		return out, nil
	}
	if err := s.Level(ctx); err != nil {
		return out, err
	}
	rarest := words[0] // of an ID it is the name, and what follows the server
	if !strings.HasPrefix(term, "@") {
		rarest = slices.MaxFunc(words, func(x, y string) int { return cmp.Compare(len(x), len(y)) })
	}
	err = s.DB.View(ctx, func(r *storage.Reader) error {
		list, err := search.People(ctx, r, rarest, maxCandidates)
		if err != nil {
			return err
		}
		out.Limited = len(list) == maxCandidates
		list = slices.DeleteFunc(list, func(p search.Person) bool { return p.User == user || !matches(&p, words) })
		if list, err = s.visible(ctx, r, user, list); err != nil {
			return err
		}
		rank(list, words)
		for _, p := range list[:min(len(list), limit)] {
			out.Results = append(out.Results, Person{p.User, p.DisplayName, p.AvatarURL})
		}
		out.Limited = out.Limited || len(list) > limit
		return nil
	})
	return out, err
}

// matches reports whether each word is the beginning of one of a person's.
func matches(p *search.Person, words []string) bool {
	all := append(slices.Clone(p.Words), search.Words(string(p.User.Server()))...)
	for _, word := range words {
		if !slices.ContainsFunc(all, func(have string) bool { return strings.HasPrefix(have, word) }) {
			return false
		}
	}
	return true
}

// visible leaves out whom the user may not find.
func (s *Server) visible(ctx context.Context, r *storage.Reader, user matrix.UserID, list []search.Person) ([]search.Person, error) {
	var others []matrix.UserID
	for _, p := range list {
		if !s.Everybody || p.User.Server() != s.ServerName {
			others = append(others, p.User)
		}
	}
	shared, err := rooms.ShareRoom(ctx, r, user, others)
	if err != nil {
		return nil, err
	}
	open, err := search.InOpenRooms(ctx, r, others)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(p search.Person) bool {
		return !shared[p.User] && !open[p.User] && (!s.Everybody || p.User.Server() != s.ServerName)
	}), nil
}

// rank puts those first of whom a whole word was asked for, then those with a
// name.
func rank(list []search.Person, words []string) {
	score := func(p search.Person) (n int) {
		for _, word := range words {
			if slices.Contains(p.Words, word) {
				n += 2
			}
		}
		if p.DisplayName != "" {
			n++
		}
		return n
	}
	slices.SortStableFunc(list, func(x, y search.Person) int { return cmp.Compare(score(y), score(x)) })
}
