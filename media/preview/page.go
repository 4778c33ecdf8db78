package preview

import (
	"context"
	"encoding/json"
	"io"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// page is what a page says about itself.
type page map[string]any

// links are what else a page names.
type links struct{ oEmbed string }

const (
	// maxText bounds one property.
	maxText = 1000
	// maxProperties bounds how many there are.
	maxProperties = 40
	// maxTokens bounds the pieces of a page that are looked at.
	maxTokens = 50_000
	// maxOEmbed bounds an answer of an oEmbed provider.
	maxOEmbed = 256 << 10
)

// read takes the properties of a page from its head, or makes them of its title
// and description.
func read(r io.Reader) (found page, more links) {
	found = make(page)
	var title, description string
	z := html.NewTokenizer(r)
	z.SetMaxBuf(maxPage)
	for range maxTokens {
		kind := z.Next()
		if kind == html.ErrorToken {
			break
		}
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		token := z.Token()
		switch token.DataAtom {
		case atom.Body:
			found.complete(title, description)
			return found, more
		case atom.Title:
			if title == "" && z.Next() == html.TextToken {
				title = clip(string(z.Text()))
			}
		case atom.Meta:
			name, content := meta(token)
			if name == "description" {
				description = clip(content)
			}
			found.add(name, content)
		case atom.Link:
			if a := attributes(token); a["rel"] == "alternate" && a["type"] == "application/json+oembed" {
				more.oEmbed = a["href"]
			}
		}
	}
	found.complete(title, description)
	return found, more
}

func attributes(token html.Token) map[string]string {
	out := make(map[string]string, len(token.Attr))
	for _, a := range token.Attr {
		out[a.Key] = a.Val
	}
	return out
}

func meta(token html.Token) (name, content string) {
	a := attributes(token)
	if name = a["property"]; name == "" {
		name = a["name"]
	}
	return strings.ToLower(name), a["content"]
}

// add keeps a property of OpenGraph: the first of a name.
func (p page) add(name, content string) {
	if !strings.HasPrefix(name, "og:") || len(name) > 100 || len(p) >= maxProperties || p[name] != nil {
		return
	}
	if name == "og:image:url" || name == "og:image:secure_url" {
		name = "og:image"
	}
	if content = clip(content); content != "" && p[name] == nil {
		p[name] = content
	}
}

func (p page) complete(title, description string) {
	if p["og:title"] == nil && title != "" {
		p["og:title"] = title
	}
	if p["og:description"] == nil && description != "" {
		p["og:description"] = description
	}
}

// dropImage removes what a page says of its picture: nothing of it was checked,
// and whoever reads a message must not be made to ask a stranger's server.
func (p page) dropImage() {
	for name := range p {
		if strings.HasPrefix(name, "og:image") {
			delete(p, name)
		}
	}
}

// embed asks an oEmbed provider for what a page does not say itself.
func (s *Server) embed(ctx context.Context, base *url.URL, found page, link string) {
	if found["og:title"] != nil && found["og:image"] != nil {
		return
	}
	res, err := s.follow(ctx, base, link)
	if err != nil {
		return
	}
	defer func() { _ = res.Body.Close() }()
	var answer struct {
		Title     string `json:"title"`
		Author    string `json:"author_name"`
		Provider  string `json:"provider_name"`
		Thumbnail string `json:"thumbnail_url"`
	}
	if json.NewDecoder(io.LimitReader(res.Body, maxOEmbed)).Decode(&answer) != nil {
		return
	}
	for name, value := range map[string]string{"og:title": answer.Title, "og:site_name": answer.Provider,
		"og:description": answer.Author, "og:image": answer.Thumbnail} {
		found.add(name, value)
	}
}

// clip makes one line of a text, without marks that nobody sees.
func clip(text string) string {
	text = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Bidi_Control, r) || unicode.IsControl(r) && !unicode.IsSpace(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))), " ")
	for len(text) > maxText {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}
