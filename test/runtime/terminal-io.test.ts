import { PassThrough } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { type FromHost, inlinePorts, type ToHost } from '../../runtime/process/port.ts'
import type { HostLine } from '../../runtime/relay/relay.ts'
import { TerminalIo } from '../../runtime/terminal-io.ts'

/** A terminal's input, or what `tty` makes of it, and the answers that a host gets. */
function terminal(
  tty: object,
  textBytesMax?: number,
  input = new PassThrough(),
): { io: TerminalIo; line: HostLine; answers: ToHost[] } {
  const stdin = Object.assign(input, tty)
  const io = new TerminalIo({ stdin, stdout: new PassThrough(), stderr: new PassThrough() }, textBytesMax)
  const [port, hostPort] = inlinePorts<ToHost, FromHost>((run) => run())
  const answers: ToHost[] = []
  hostPort.onMessage((message) => answers.push(message))
  return { io, line: { hostId: 'app:term', slot: 1, port }, answers }
}

const answer = (error?: object): object => ({ kind: 'terminal-data', ref: 1, bytes: undefined, error })
const unavailable = (why: string): object =>
  expect.objectContaining({
    kind: 'Unavailable',
    message: expect.stringMatching(`raw terminal control unavailable: ${why}`),
    retryable: false,
  })

describe('raw mode', () => {
  test('is set on a terminal, and off at the end', () => {
    const modes: boolean[] = []
    const { io, line, answers } = terminal({ isTTY: true, setRawMode: (mode: boolean) => modes.push(mode) })
    io.handle(line, { kind: 'terminal-raw', ref: 1, enable: true })
    expect(answers).toEqual([answer()])
    io.close()
    expect(modes).toEqual([true, false])
  })

  test('is unavailable where the input is a file or a pipe', () => {
    const { io, line, answers } = terminal({})
    io.handle(line, { kind: 'terminal-raw', ref: 1, enable: true })
    expect(answers).toEqual([answer(unavailable('the input is no terminal'))])
    io.close()
  })

  test('is unavailable when the terminal refuses', () => {
    const setRawMode = (): never => {
      throw new Error('setRawMode EIO')
    }
    const { io, line, answers } = terminal({ isTTY: true, setRawMode })
    io.handle(line, { kind: 'terminal-raw', ref: 1, enable: true })
    expect(answers).toEqual([answer(unavailable('setRawMode EIO'))])
    io.close()
  })
})

describe('input', () => {
  /** Reads so many bytes or a line, one read after the other, while the pieces come in. */
  async function read(pieces: readonly string[], reads: readonly (number | 'line')[], textBytesMax?: number) {
    const stdin = new PassThrough()
    const { io, line, answers } = terminal({}, textBytesMax, stdin)
    for (const [ref, bytesMax] of reads.entries()) io.handle(line, { kind: 'terminal-read', ref, bytesMax })
    for (const piece of pieces) {
      stdin.write(piece)
      await setImmediate()
    }
    stdin.end()
    await setImmediate()
    io.close()
    return answers.map((message) => {
      const { bytes, error } = message as Extract<ToHost, { kind: 'terminal-data' }>
      return error === undefined ? bytes : error.message
    })
  }

  test('lines are what stands between line ends, however they come in (lua-libraries.md §13)', async () => {
    const lines = Array.from({ length: 6 }, () => 'line' as const)
    expect(await read(['a\nbc\r\n', '\n', 'd', 'e', 'f\r', '\n', 'last\r'], lines)).toEqual([
      'a',
      'bc',
      '',
      'def',
      'last\r',
      undefined,
    ])
  })

  test('bytes behind a line are for the next read', async () => {
    expect(await read(['one\ntwo three', ' four\nfive'], ['line', 3, 'line', 100, 'line'])).toEqual([
      'one',
      'two',
      ' three four',
      'five',
      undefined,
    ])
  })

  test('a line of very many pieces is put together once', async () => {
    const stdin = new PassThrough()
    const { io, line, answers } = terminal({}, undefined, stdin)
    io.handle(line, { kind: 'terminal-read', ref: 1, bytesMax: 'line' })
    const count = 100_000
    // As the listener gets them: one event each.
    for (let i = 0; i < count; i++) stdin.emit('data', Buffer.from('xxxxxxxxxx'))
    stdin.emit('data', Buffer.from('\n'))
    expect(answers).toMatchObject([{ bytes: 'x'.repeat(10 * count) }])
    io.close()
  })

  test('a line that no string can hold is an error, and can be read piece by piece', async () => {
    const tooLong = 'the line has more than 8 bytes; read it piece by piece'
    expect(await read(['12345', '67890\nnext\n'], ['line', 'line', 6, 'line', 'line'], 8)).toEqual([
      tooLong,
      tooLong,
      '123456',
      '7890',
      'next',
    ])
  })
})
