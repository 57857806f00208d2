import { EventEmitter } from 'node:events'
import { PassThrough } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { splitExec } from '../../../runtime/cli/commands/run.ts'
import { commandName } from '../../../runtime/cli/invocation.ts'
import { Signals } from '../../../runtime/cli/signals.ts'
import { flushOutputs, watchOutputs } from '../../../runtime/cli/streams.ts'

describe('what follows --exec ENTRY belongs to the program', () => {
  test.each([
    [
      ['run', 'app.yaml', '--exec', 'a:b', '--set', 'x=1'],
      ['run', 'app.yaml', '--exec', 'a:b'],
      ['--set', 'x=1'],
    ],
    [['run', '--exec=a:b', 'x'], ['run', '--exec=a:b'], ['x']],
    [['run', 'app.yaml', '--exec'], ['run', 'app.yaml', '--exec'], []],
    [
      ['run', 'app.yaml', '--exec', 'a:b', '--exec', 'c'],
      ['run', 'app.yaml', '--exec', 'a:b'],
      ['--exec', 'c'],
    ],
    [['run', 'app.yaml'], ['run', 'app.yaml'], []],
    [['test', 'app.yaml', '--exec', 'a', 'b'], ['test', 'app.yaml', '--exec', 'a', 'b'], []],
    [[], [], []],
  ])('%j', (argv, own, program) => {
    expect(splitExec(argv)).toEqual({ own, program })
  })
})

describe('signals', () => {
  test('the first asks for the end, the second for the end at once; the code is of the first', async () => {
    const source = new EventEmitter()
    const signals = new Signals(source)
    source.emit('SIGTERM')
    source.emit('SIGINT')
    source.emit('SIGINT')
    expect(await signals.first).toEqual({ signal: 'SIGTERM', exitCode: 0 })
    expect(await signals.second).toEqual({ signal: 'SIGINT', exitCode: 130 })
    signals.close()
    expect(source.eventNames()).toEqual([])
  })

  test('one that comes when all is done ends the program with its own exit code', async () => {
    const source = new EventEmitter()
    const signals = new Signals(source)
    source.emit('SIGTERM')
    await signals.first
    const exits: number[] = []
    signals.finish(0, (exitCode) => exits.push(exitCode))
    source.emit('SIGINT')
    expect(exits).toEqual([0])
  })
})

describe('standard streams', () => {
  test('a reader that leaves is told, and ends nothing', async () => {
    const outputs = { stdout: new PassThrough(), stderr: new PassThrough() }
    const gone = watchOutputs(outputs)
    outputs.stderr.emit('error', new Error('EPIPE'))
    outputs.stdout.emit('error', new Error('EPIPE'))
    await gone
  })

  test('flushing waits for what is written, and not for what is gone', async () => {
    const outputs = { stdout: new PassThrough({ highWaterMark: 1 }), stderr: new PassThrough() }
    outputs.stderr.destroy()
    outputs.stdout.write('much')
    outputs.stdout.write('more')
    let isFlushed = false
    const flushed = flushOutputs(outputs).then(() => {
      isFlushed = true
    })
    await new Promise((next) => setImmediate(next))
    expect(isFlushed).toBe(false)
    outputs.stdout.resume()
    await flushed
  })
})

test('advice uses the words that the command was called with', () => {
  expect(commandName('/usr/bin/moonmesh', {})).toBe('moonmesh')
  expect(commandName('/app/node_modules/.bin/runtime', {})).toBe('runtime')
  expect(commandName('/app/dist/runtime/cli/main.js', {})).toBe('runtime')
  expect(commandName('/x/moonmesh', { npm_command: 'exec' })).toBe('npx moonmesh')
})
