// Module `io`: the terminal of a process on a terminal host. lua-core.md §20.

import { TableValue } from '../runtime/base/value.ts'
import type { Call, LuaValue, Returns } from '../runtime/lua/engine.ts'
import type { Answer, LibraryModule, Terminal } from '../runtime/services.ts'
import { booleanArg, optionalNumber, processOf } from './support/args.ts'
import { blocking } from './support/blocking.ts'
import { fail, failWith, TRUE_NIL } from './support/fail.ts'
import { wait, waitAlone } from './support/wait.ts'

const READ_BYTES = 1024

type OnTerminal = (call: Call, terminal: Terminal) => Returns

function onTerminal(run: OnTerminal): (call: Call) => Returns {
  return (call) => {
    const { terminal } = processOf(call)
    return terminal === undefined ? fail('Unavailable', 'no terminal context') : run(call, terminal)
  }
}

function joined(call: Call, separator: string): string {
  let text = ''
  for (let i = 1; i <= call.count; i++) text += (i > 1 ? separator : '') + call.tostring(i)
  return text
}

/** Output beyond the bound makes the process wait until the terminal has taken some. */
function write(call: Call, terminal: Terminal, stream: 'stdout' | 'stderr', bytes: string): Returns {
  if (terminal.write(stream, bytes) || !call.canSuspend || processOf(call).isLoading) return true
  return waitAlone(call, (done) => terminal.drained(() => done([true])))
}

function answered(done: (values: readonly LuaValue[]) => void): (answer: Answer<string | undefined>) => void {
  return (answer) => {
    if (!answer.ok) done(failWith(answer.error))
    else done(answer.value === undefined ? fail('Internal', 'EOF') : [answer.value, undefined])
  }
}

export const ioModule: LibraryModule = {
  name: 'io',
  description: 'the terminal',
  tags: ['io', 'nondeterministic'],
  build: () => ({
    write: onTerminal((call, terminal) => write(call, terminal, 'stdout', joined(call, ''))),
    print: onTerminal((call, terminal) => write(call, terminal, 'stdout', `${joined(call, '\t')}\n`)),
    eprint: onTerminal((call, terminal) => write(call, terminal, 'stderr', `${joined(call, '\t')}\n`)),
    flush: onTerminal(() => true),
    read: onTerminal((call, terminal) => {
      const wanted = Math.floor(optionalNumber(call, 1, 'read', READ_BYTES))
      blocking(call, 'io.read')
      return wait(call, (done) => terminal.read(wanted > 0 ? wanted : READ_BYTES, answered(done)))
    }),
    readline: onTerminal((call, terminal) => {
      blocking(call, 'io.readline')
      return wait(call, (done) => terminal.readLine(answered(done)))
    }),
    raw: onTerminal((call, terminal) => {
      const enable = call.arg(1) === undefined || booleanArg(call, 1, 'raw')
      return waitAlone(call, (done) =>
        terminal.setRaw(enable, (answer) => done(answer.ok ? TRUE_NIL : failWith(answer.error))),
      )
    }),
    args: (call) => call.engine.copyIn(new TableValue([...(processOf(call).terminal?.args ?? [])])),
  }),
}
