// Who takes part: a server is a name together with a store, so that a wiped disk is another server. cluster.md §0.1, §5.

/** `name/store`, compared bytewise; the store is the id of one data directory, in hex. A core never takes it apart. */
export type ServerId = string

/** The identity of the store `store` of the node `name`. */
export function serverId(name: string, store: string): ServerId {
  return `${name}/${store}`
}

/** The node's name. A name holds no slash. */
export function nameOf(server: ServerId): string {
  return server.slice(0, server.indexOf('/'))
}

/** The store's id, in hex. */
export function storeOf(server: ServerId): string {
  return server.slice(server.indexOf('/') + 1)
}

/** The order of every list of servers that is written, sent or iterated. */
export function compareServers(a: ServerId, b: ServerId): number {
  return a < b ? -1 : a > b ? 1 : 0
}
