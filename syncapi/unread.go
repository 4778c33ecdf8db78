package syncapi

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"beffroi/matrix/canonicaljson"
	"beffroi/roomserver"
	"beffroi/storage/rooms"
)

// readUnread counts what the user has not read of the rooms that are told of,
// in the snapshot of their events.
//
// https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
func (a *answer) readUnread(ctx context.Context) error {
	var list []rooms.Standing
	for _, rm := range a.list {
		if rm.section == joined && !rm.hidden {
			list = append(list, rm.Standing)
		}
	}
	if len(list) == 0 {
		return nil
	}
	unread, err := a.ear.Unread(ctx, a.r, list)
	if err != nil {
		return err
	}
	for _, rm := range a.list {
		rm.unread = unread[rm.RoomNID]
	}
	return nil
}

// appendUnread writes the counts of a room. A client that does not ask for
// those of threads is told one count for all.
func (a *answer) appendUnread(out []byte, rm *room) []byte {
	if rm.unread == nil {
		return out
	}
	if !a.filter.threads {
		return appendCount(append(out, `,"unread_notifications":`...), rm.unread.All())
	}
	out = appendCount(append(out, `,"unread_notifications":`...), rm.unread.Main)
	if len(rm.unread.Threads) == 0 {
		return out
	}
	out = append(out, `,"unread_thread_notifications":{`...)
	for i, id := range slices.Sorted(maps.Keys(rm.unread.Threads)) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(canonicaljson.AppendString(out, string(id)), ':')
		out = appendCount(out, rm.unread.Threads[id])
	}
	return append(out, '}')
}

func appendCount(out []byte, c roomserver.Count) []byte {
	out = strconv.AppendInt(append(out, `{"highlight_count":`...), c.Highlights, 10)
	out = strconv.AppendInt(append(out, `,"notification_count":`...), c.Notifications, 10)
	return append(out, '}')
}
