// Patterns of event systems and kinds. lua-core.md §18 and its open point 21.

/**
 * - `*`, `**`: everything
 * - one star or two at the end only: whatever begins so (`orders.*` matches `orders.eu.north`)
 * - stars as whole segments elsewhere: `*` is one segment, `**` any number of them
 * - anything else: itself
 */
export function eventMatcher(pattern: string): (text: string) => boolean {
  if (pattern === '*' || pattern === '**') return () => true
  const prefix = pattern.replace(/\*{1,2}$/, '')
  if (prefix !== pattern && !prefix.includes('*')) return (text) => text.startsWith(prefix)
  const segments = pattern.split('.')
  if (!segments.some((segment) => segment === '*' || segment === '**')) return (text) => text === pattern
  return (text) => matchSegments(segments, text.split('.'))
}

/** As with shell patterns, over segments: the last `**` that was met takes one more segment whenever the rest does not fit. */
function matchSegments(pattern: readonly string[], text: readonly string[]): boolean {
  let p = 0
  let t = 0
  let star = -1
  let mark = 0
  while (t < text.length) {
    const segment = pattern[p]
    if (segment === '**') {
      star = p++
      mark = t
    } else if (segment === '*' || segment === text[t]) {
      p++
      t++
    } else if (star >= 0) {
      p = star + 1
      t = ++mark
    } else return false
  }
  while (pattern[p] === '**') p++
  return p === pattern.length
}
