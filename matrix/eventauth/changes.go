package eventauth

import "iter"

// levelChange is an entry that was added (was is false), removed (is is
// false) or changed.
type levelChange struct {
	key      string
	old, new Level
	was, is  bool
}

// changes merges two sorted lists and yields the entries in which they differ.
func changes(old, new []entry) iter.Seq[levelChange] {
	return func(yield func(levelChange) bool) {
		for len(old) > 0 || len(new) > 0 {
			var c levelChange
			switch {
			case len(new) == 0 || len(old) > 0 && old[0].key < new[0].key:
				c = levelChange{key: old[0].key, old: old[0].level, was: true}
				old = old[1:]
			case len(old) == 0 || new[0].key < old[0].key:
				c = levelChange{key: new[0].key, new: new[0].level, is: true}
				new = new[1:]
			default:
				c = levelChange{new[0].key, old[0].level, new[0].level, true, true}
				old, new = old[1:], new[1:]
			}
			if (!c.was || !c.is || c.old != c.new) && !yield(c) {
				return
			}
		}
	}
}
