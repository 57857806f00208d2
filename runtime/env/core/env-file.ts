// Files of `KEY=VALUE` lines. `#` begins a comment anywhere in a line; there is no quoting. lua-libraries.md §12.

interface Line {
  readonly name: string
  readonly value: string
  /** From its `#` on, with the space before it. */
  readonly comment: string
}

function parse(line: string): Line | undefined {
  const hash = line.indexOf('#')
  const content = hash < 0 ? line : line.slice(0, hash)
  const equals = content.indexOf('=')
  if (equals < 1) return undefined
  const name = content.slice(0, equals).trim()
  const comment = hash < 0 ? '' : line.slice(content.trimEnd().length)
  return name === '' ? undefined : { name, value: content.slice(equals + 1).trim(), comment }
}

/** The variables of a file; the last line of a name counts. */
export function linesOf(text: string): Map<string, string> {
  const values = new Map<string, string>()
  for (const line of text.split(/\r?\n/)) {
    const parsed = parse(line)
    if (parsed !== undefined) values.set(parsed.name, parsed.value)
  }
  return values
}

/** The file with the variable in it: its line changes and keeps its comment, or a line is added; all others stay. */
export function withVariable(text: string, name: string, value: string): string {
  const clean = value.replace(/[\r\n]/g, ' ')
  const lines = text.split('\n')
  let isFound = false
  const changed = lines.map((line) => {
    const parsed = parse(line)
    if (parsed?.name !== name) return line
    isFound = true
    return `${name}=${clean}${parsed.comment}`
  })
  if (isFound) return changed.join('\n')
  const isTerminated = text === '' || text.endsWith('\n')
  return `${text}${isTerminated ? '' : '\n'}${name}=${clean}\n`
}
