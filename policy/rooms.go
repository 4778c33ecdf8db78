package policy

// directSeats is how many members a direct room has.
const directSeats = 2
