// Cutting long texts into chunks that overlap, at the best place there is: between paragraphs, lines, words, at last between characters.
// lua-libraries.md §17.3. Sizes count Unicode characters.

export interface SplitOptions {
  readonly chunkSize: number
  readonly chunkOverlap: number
  /** From the best to the last resort; '' cuts anywhere. */
  readonly separators: readonly string[]
  readonly keepsSeparator: boolean
}

export interface MarkdownOptions extends SplitOptions {
  /** Blocks of code stay in one piece as long as they fit. */
  readonly codeBlocks: boolean
  /** Each chunk below a heading begins with the headings above it. */
  readonly headingHierarchy: boolean
}

/** Of all chunks of one text together: large ones that overlap nearly wholly are a multiple of it. */
const CHARACTERS_MAX = 64 * 1024 * 1024

/** `message` is text. */
export class TooManyCharacters extends Error {
  override readonly name = 'TooManyCharacters'
}

const lengthOf = (text: string): number => {
  let count = 0
  for (const _ of text) count++
  return count
}

/** @throws TooManyCharacters */
export function splitText(text: string, options: SplitOptions, charactersMax = CHARACTERS_MAX): string[] {
  let room = charactersMax
  return splitBy(text, options.separators, {
    ...options,
    spend: (length) => {
      room -= length
      if (room < 0) {
        throw new TooManyCharacters(`the chunks have more than ${charactersMax} characters: chunk_overlap is too large`)
      }
    },
  })
}

interface Work extends SplitOptions {
  /** Counts the characters of a chunk. @throws TooManyCharacters */
  readonly spend: (length: number) => void
}

function splitBy(text: string, separators: readonly string[], options: Work): string[] {
  const index = separators.findIndex((separator) => separator === '' || text.includes(separator))
  const separator = separators[index] ?? ''
  const rest = separators.slice(index + 1)
  const chunks: string[] = []
  let fitting: string[] = []
  const join = options.keepsSeparator ? '' : separator
  // One by one: as the arguments of one call hundreds of thousands of chunks overflow the stack.
  const add = (more: readonly string[]): void => {
    for (const chunk of more) chunks.push(chunk)
  }
  const flush = (): void => {
    add(merge(fitting, join, options))
    fitting = []
  }
  for (const piece of pieces(text, separator, options.keepsSeparator)) {
    if (lengthOf(piece) <= options.chunkSize) fitting.push(piece)
    else {
      flush()
      add(rest.length === 0 ? cut(piece, options) : splitBy(piece, rest, options))
    }
  }
  flush()
  return chunks
}

function pieces(text: string, separator: string, keepsSeparator: boolean): string[] {
  if (separator === '') return [...text]
  const parts = text.split(separator)
  const kept = keepsSeparator ? parts.map((part, i) => (i === 0 ? part : separator + part)) : parts
  return kept.filter((part) => part !== '')
}

/** Without any separator left: by length alone. */
function cut(text: string, { chunkSize, chunkOverlap, spend }: Work): string[] {
  const characters = [...text]
  const step = Math.max(1, chunkSize - chunkOverlap)
  const chunks: string[] = []
  for (let at = 0; at < characters.length; at += step) {
    spend(Math.min(chunkSize, characters.length - at))
    chunks.push(characters.slice(at, at + chunkSize).join(''))
    if (at + chunkSize >= characters.length) break
  }
  return chunks
}

/** Small pieces together as long as they fit; the end of a chunk is the beginning of the next, up to the overlap. */
function merge(parts: readonly string[], join: string, { chunkSize, chunkOverlap, spend }: Work): string[] {
  const chunks: string[] = []
  const joinLength = lengthOf(join)
  const current: { text: string; length: number }[] = []
  let length = 0
  const emit = (): void => {
    spend(length)
    const text = current
      .map((part) => part.text)
      .join(join)
      .trim()
    if (text !== '') chunks.push(text)
  }
  for (const text of parts) {
    const added = lengthOf(text)
    if (current.length > 0 && length + joinLength + added > chunkSize) {
      emit()
      while (current.length > 0 && (length > chunkOverlap || length + joinLength + added > chunkSize)) {
        const first = current.shift() as { length: number }
        length -= first.length + (current.length > 0 ? joinLength : 0)
      }
    }
    length += added + (current.length > 0 ? joinLength : 0)
    current.push({ text, length: added })
  }
  emit()
  return chunks
}

interface Section {
  /** Lines of the headings above it, the outermost first. */
  readonly headings: readonly string[]
  readonly text: string
}

export function splitMarkdown(text: string, options: MarkdownOptions): string[] {
  return sectionsOf(text).flatMap(({ headings, text: body }) => {
    const head = options.headingHierarchy ? headings.join('\n') : (headings[headings.length - 1] ?? '')
    const room = Math.max(1, options.chunkSize - lengthOf(head) - 1)
    const inner = { ...options, chunkSize: room, chunkOverlap: Math.min(options.chunkOverlap, room - 1) }
    const blocks = options.codeBlocks ? codeBlocksOf(body) : [body]
    const chunks = blocks.flatMap((block) => {
      const isWhole = options.codeBlocks && block.startsWith('```') && lengthOf(block) <= room
      return isWhole ? [block.trim()] : splitText(block, inner)
    })
    if (head === '') return chunks
    return chunks.length === 0 ? [head] : chunks.map((chunk) => `${head}\n${chunk}`)
  })
}

function sectionsOf(text: string): Section[] {
  const sections: Section[] = []
  let headings: { level: number; line: string }[] = []
  let lines: string[] = []
  let isCode = false
  const flush = (): void => {
    const body = lines.join('\n')
    if (body.trim() !== '' || headings.length > 0)
      sections.push({ headings: headings.map(({ line }) => line), text: body })
    lines = []
  }
  for (const line of text.split('\n')) {
    if (line.trimStart().startsWith('```')) isCode = !isCode
    const level = isCode ? undefined : /^(#{1,6})\s+\S/.exec(line)?.[1]?.length
    if (level === undefined) {
      lines.push(line)
      continue
    }
    if (lines.some((each) => each.trim() !== '') || headings.length > 0) flush()
    headings = [...headings.filter((heading) => heading.level < level), { level, line: line.trim() }]
  }
  flush()
  return sections
}

/** Fenced blocks of code, and what stands between them. A fence that nothing closes begins none. */
function codeBlocksOf(text: string): string[] {
  const lines = text.split('\n')
  const closing = nextClosings(lines)
  const parts: string[] = []
  let between: string[] = []
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] as string
    const end = line.startsWith(FENCE) ? closing[i] : undefined
    if (end === undefined) {
      between.push(line)
      continue
    }
    parts.push(between.join('\n'), lines.slice(i, end + 1).join('\n'))
    between = []
    i = end
  }
  parts.push(between.join('\n'))
  return parts.filter((part) => part.trim() !== '')
}

const FENCE = '```'

/** For each line the next one behind it that closes a block. All at once: looking for each from its beginning takes the square of the lines. */
function nextClosings(lines: readonly string[]): (number | undefined)[] {
  const next: (number | undefined)[] = new Array(lines.length)
  let closing: number | undefined
  for (let i = lines.length - 1; i >= 0; i--) {
    next[i] = closing
    if ((lines[i] as string).trimEnd() === FENCE) closing = i
  }
  return next
}
