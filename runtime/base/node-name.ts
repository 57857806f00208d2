// What a node may be called. cluster.md §0.1.

/** 1 to 128 letters, digits, `.` or `-`; the first and the last a letter or digit. */
export const NODE_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,126}[A-Za-z0-9])?$/

export const NODE_NAME_FORM = '1 to 128 letters, digits, "." or "-", the first and the last a letter or digit'

/** A machine's name made into a node's. */
export function nodeNameOf(hostName: string): string {
  const name = hostName
    .replace(/[^A-Za-z0-9.-]/g, '-')
    .replace(/^[.-]+/, '')
    .slice(0, 128)
    .replace(/[.-]+$/, '')
  return NODE_NAME.test(name) ? name : 'node'
}
