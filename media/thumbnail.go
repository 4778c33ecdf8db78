package media

const thumbnailWorkers = 2
