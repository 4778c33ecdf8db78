package adminapi

import (
	"slices"
	"strings"

	"beffroi/policystore"
)

// prefix stands before every path.
const prefix = "/_beffroi/admin/v1"

// route is one line of the table, and of the description.
type route struct {
	method, path string
	roles        []policystore.Role
	summary      string
	query        []parameter
	in, out      string // names of schemas; "" has no body
	do           handler
}

// parameter is one of the query.
type parameter struct{ name, kind, text string }

func (rt *route) allows(role policystore.Role) bool { return slices.Contains(rt.roles, role) }

func (rt *route) roleNames() string {
	names := make([]string, len(rt.roles))
	for i, r := range rt.roles {
		names[i] = string(r)
	}
	return strings.Join(names, " or ")
}

const (
	editor   = policystore.RoleEditor
	approver = policystore.RoleApprover
	auditor  = policystore.RoleAuditor
	operator = policystore.RoleOperator
)

type roles = []policystore.Role

// table is every route with who may call it.
func (s *Server) table() []route {
	all, authors := policystore.Roles(), roles{editor, approver, operator}
	return []route{
		{"GET", "/policy/active", all, "The document in force", nil, "", "Active", do(s.active)},
		{"GET", "/policy/journal", all, "The documents that were in force, the newest first", limitQuery, "", "Journal", do(s.journal)},
		{"POST", "/policy/validate", authors, "Say what is wrong with a document; nothing is kept", nil, "Candidate", "Validity", do(s.validate)},
		{"POST", "/policy/test", authors, "Run the tests of a document, and say how each ended", nil, "Candidate", "Tests", do(s.test)},
		{"POST", "/policy/preview", authors, "Compute what a document would change on the data of this server", nil, "Candidate", "Preview", do(s.preview)},

		{"GET", "/policy/drafts", all, "The newest drafts", nil, "", "Drafts", do(s.drafts)},
		{"POST", "/policy/drafts", roles{editor}, "Propose a document: it is validated, tested and previewed", nil, "Proposal", "Draft", do(s.propose)},
		{"GET", "/policy/drafts/{id}", all, "A draft with its document and preview", nil, "", "DraftWithDocument", do(s.draft)},
		{"POST", "/policy/drafts/{id}/approve", roles{approver}, "Stand for a draft of somebody else", nil, "", "Draft", do(s.approve)},
		{"POST", "/policy/drafts/{id}/activate", roles{approver}, "Put a draft in force, on every node within a second", nil, "", "Draft", do(s.activate)},
		{"POST", "/policy/drafts/{id}/withdraw", roles{editor, approver}, "End a draft that is not in force", nil, "", "Draft", do(s.withdraw)},
		{"POST", "/policy/rollback", roles{approver}, "Put a document of the journal in force again, under the next version", nil, "Rollback", "Draft", do(s.rollback)},

		{"GET", "/policy/shadow", all, "What a candidate would have decided otherwise", nil, "", "Shadow", do(s.shadow)},
		{"POST", "/policy/shadow", roles{editor, operator}, "Run a candidate beside the document in force", nil, "ShadowStart", "Shadow", do(s.startShadow)},
		{"DELETE", "/policy/shadow", roles{editor, operator}, "Stop the candidate that runs", nil, "", "Shadow", do(s.stopShadow)},

		{"GET", "/findings", roles{auditor, operator, approver}, "Memberships that the document refuses, and how far the sweep is", findingsQuery, "", "Findings", do(s.findings)},
		{"GET", "/audit", roles{auditor}, "Lines of the audit trail, in their order", auditQuery, "", "Audit", do(s.auditTrail)},
		{"GET", "/audit/verify", roles{auditor}, "Prove that nothing of the audit trail was cut or altered", nil, "", "Trail", do(s.verify)},
		{"GET", "/decisions/{id}", roles{auditor, operator}, "The line of the audit trail with a decision ID", nil, "", "Entry", do(s.decision)},
	}
}

var (
	limitQuery    = []parameter{{"limit", "integer", "how many, 1 to 1000; 100 if it is absent"}}
	findingsQuery = []parameter{
		{"status", "string", "open, left, frozen, removed, resolved or failed"}, {"organisation", "string", "the ID of an organisation"},
		{"from", "string", "the next_batch of the page before"}, limitQuery[0],
	}
	auditQuery = []parameter{
		{"after", "integer", "only lines with a greater seq"}, {"since", "integer", "milliseconds, inclusive"},
		{"until", "integer", "milliseconds, exclusive"}, {"kind", "string", "such as refusal, activation, draft, call or sweep"},
		{"action", "string", "of the policy, or the method and path of a call"}, {"reason", "string", "the code of a refusal"},
		{"actor", "string", "who did it"}, {"server", "string", "the other server"}, {"room", "string", "the ID of a room"}, limitQuery[0],
	}
)
