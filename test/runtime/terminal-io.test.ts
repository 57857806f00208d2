import { PassThrough } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { type FromHost, inlinePorts, type ToHost } from '../../runtime/process/port.ts'
import type { HostLine } from '../../runtime/relay/relay.ts'
import { TerminalIo } from '../../runtime/terminal-io.ts'

/** A terminal's input, or what `tty` makes of it, and the answers that a host gets. */
function terminal(tty: object): { io: TerminalIo; line: HostLine; answers: ToHost[] } {
  const stdin = Object.assign(new PassThrough(), tty)
  const io = new TerminalIo({ stdin, stdout: new PassThrough(), stderr: new PassThrough() })
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
