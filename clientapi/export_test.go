package clientapi

// Route is what tests see of the table.
type Route struct {
	Method, Path string
	NeedsToken   bool
}

// Table returns every route by every name.
func (s *Server) Table() (out []Route) {
	for _, rt := range s.table() {
		for _, path := range rt.paths() {
			out = append(out, Route{rt.method, path, rt.who >= leaving})
		}
	}
	return out
}
