// Files of `KEY=VALUE` lines, as byte strings. `#` begins a comment anywhere in a line; there is no quoting. lua-libraries.md §12.

interface Line {
  readonly name: string
  readonly value: string
  /** From its `#` on, with the space before it. */
  readonly comment: string
}

const SPACE = ' \t\n\v\f\r'

/** Of ASCII alone: a byte beyond it is part of a character. */
function trimEnd(bytes: string): string {
  let end = bytes.length
  while (end > 0 && SPACE.includes(bytes[end - 1] as string)) end--
  return bytes.slice(0, end)
}

const trim = (bytes: string): string => trimEnd(bytes.replace(/^[ \t-\r]+/, ''))

function parse(line: string): Line | undefined {
  const hash = line.indexOf('#')
  const content = hash < 0 ? line : line.slice(0, hash)
  const equals = content.indexOf('=')
  if (equals < 1) return undefined
  const name = trim(content.slice(0, equals))
  const comment = hash < 0 ? '' : line.slice(trimEnd(content).length)
  return name === '' ? undefined : { name, value: trim(content.slice(equals + 1)), comment }
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

/** Whether a value is read as it was written: there is no quoting. */
export const isStorable = (value: string): boolean => !/[\r\n#]/.test(value) && trim(value) === value

/** The file with the variable in it: its line changes and keeps its comment, or a line is added; all others stay. The value must be storable. */
export function withVariable(text: string, name: string, value: string): string {
  const lines = text.split('\n')
  let isFound = false
  const changed = lines.map((line) => {
    const parsed = parse(line)
    if (parsed?.name !== name) return line
    isFound = true
    return `${name}=${value}${parsed.comment}`
  })
  if (isFound) return changed.join('\n')
  const isTerminated = text === '' || text.endsWith('\n')
  return `${text}${isTerminated ? '' : '\n'}${name}=${value}\n`
}
