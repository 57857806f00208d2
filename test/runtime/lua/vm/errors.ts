// The form of testdata/errors/*.txt: programs that fail, and what lua5.3 says of each.
//
//   # a heading
//
//   a program, of any number of lines, none of them empty
//   --> a line that lua5.3 prints; the error that ends the program is the last
//   --! a line that this engine prints, if it is to be another one
//   --? why

/** `here` and `why` are empty where both print the same. */
interface Failure {
  /** Headings that stand before it. */
  readonly headings: readonly string[]
  readonly source: string
  readonly expected: string
  readonly here: string
  readonly why: string
}

const MARKS = { expected: '--> ', here: '--! ', why: '--? ' } as const

export function parseFailures(text: string): Failure[] {
  const failures: Failure[] = []
  let headings: string[] = []
  for (const block of text.trimEnd().split(/\n\n+/)) {
    const lines = block.split('\n')
    if (block.startsWith('# ')) {
      headings.push(block)
      continue
    }
    const marked = (mark: string): string =>
      lines
        .filter((line) => line.startsWith(mark))
        .map((line) => line.slice(mark.length))
        .join('\n')
    const source = lines.filter((line) => !/^--[>!?] /.test(line)).join('\n')
    const { expected, here, why } = MARKS
    failures.push({ headings, source, expected: marked(expected), here: marked(here), why: marked(why) })
    headings = []
  }
  return failures
}

export function writeFailures(failures: readonly Failure[]): string {
  const marked = (mark: string, text: string): string[] =>
    text === '' ? [] : text.split('\n').map((line) => `${mark}${line}`)
  const blocks = failures.flatMap(({ headings, source, expected, here, why }) => [
    ...headings,
    [source, ...marked(MARKS.expected, expected), ...marked(MARKS.here, here), ...marked(MARKS.why, why)].join('\n'),
  ])
  return `${blocks.join('\n\n')}\n`
}

/** What was printed, as the data has it: without addresses, and with what cannot be seen as an escape. */
export const shown = (printed: string): string =>
  printed
    .replace(/: (builtin: )?0x[0-9a-f]+/g, ': (address)')
    .replace(/[^\n\x20-\x7e]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`)
    .trimEnd()
