package clientapi

import (
	"net/http"

	"beffroi/matrix"
)

// The identifiers of a path are parsed here and trusted from here on. What is
// none is M_INVALID_PARAM.

func roomID(r *http.Request) (matrix.RoomID, error) { return matrix.ParseRoomID(r.PathValue("roomID")) }

func userID(r *http.Request) (matrix.UserID, error) { return matrix.ParseUserID(r.PathValue("userID")) }

func eventID(r *http.Request) (matrix.EventID, error) {
	return matrix.ParseEventID(r.PathValue("eventID"))
}

func roomAlias(r *http.Request) (matrix.RoomAlias, error) {
	return matrix.ParseRoomAlias(r.PathValue("roomAlias"))
}

// roomAndEvent returns the room and the event that a path names.
func roomAndEvent(r *http.Request) (matrix.RoomID, matrix.EventID, error) {
	room, err := roomID(r)
	if err != nil {
		return "", "", err
	}
	id, err := eventID(r)
	return room, id, err
}

// maxVia bounds the servers that a client names for a room.
const maxVia = 20

// viaServers returns the servers through which a client wants to reach a room.
// server_name is the name of the parameter before v1.12.
func viaServers(r *http.Request) ([]matrix.ServerName, error) {
	query := r.URL.Query()
	names := query["via"]
	if len(names) == 0 {
		names = query["server_name"]
	}
	if len(names) > maxVia {
		names = names[:maxVia]
	}
	servers := make([]matrix.ServerName, 0, len(names))
	for _, name := range names {
		server, err := matrix.ParseServerName(name)
		if err != nil {
			return nil, err
		}
		servers = append(servers, server)
	}
	return servers, nil
}
