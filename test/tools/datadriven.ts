// Transcripts: a text file of commands, each followed by `----` and everything it printed, up to an empty line. Rewritten
// with `vitest -u` and read as a diff. The form is that of Go's datadriven package, as in etcd-io/raft testdata.

import { readFileSync } from 'node:fs'
import { expect } from 'vitest'

/** Runs the commands of the file; `run` gets a command's words and returns its output. Lines with `#` are comments. */
export async function transcript(file: string, run: (words: readonly string[]) => string): Promise<void> {
  const out: string[] = []
  for (const block of readFileSync(file, 'utf8').trimEnd().split(/\n\n+/)) {
    const lines = block.split('\n')
    const end = lines.indexOf('----')
    const commands = end < 0 ? lines : lines.slice(0, end)
    const isComment = commands.every((line) => line.startsWith('#'))
    if (isComment) {
      out.push(commands.join('\n'))
      continue
    }
    const printed: string[] = []
    for (const line of commands) if (!line.startsWith('#')) printed.push(run(line.trim().split(/\s+/)).trimEnd())
    const text = printed.filter((each) => each !== '').join('\n')
    out.push([...commands, '----', text === '' ? 'ok' : text].join('\n'))
  }
  await expect(`${out.join('\n\n')}\n`).toMatchFileSnapshot(file)
}
