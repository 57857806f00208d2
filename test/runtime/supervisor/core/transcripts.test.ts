// Stories as transcripts: a line with `>` is a command, the indented lines below it are all effects it had. Rewrite with `-u`.
// `> reconfigure` takes the `service` lines above it, since the last command, as the complete new list.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parseDurationMs } from '../../../../runtime/base/duration.ts'
import { MoonmeshError } from '../../../../runtime/base/errors.ts'
import type { ServiceDefinition } from '../../../../runtime/supervisor/core/supervisor.ts'
import { service } from '../services.ts'
import { Machine } from './machine.ts'

const FOLDER = join(import.meta.dirname, 'testdata')

for (const name of readdirSync(FOLDER)) {
  test(`transcript ${name}`, async () => {
    const file = join(FOLDER, name)
    await expect(replay(readFileSync(file, 'utf8'))).toMatchFileSnapshot(file)
  })
}

/** The text with what the commands do now. */
function replay(text: string): string {
  let definitions: ServiceDefinition[] = []
  let machine: Machine | undefined
  const lines = text.split('\n').filter((line) => !line.startsWith('  '))
  const out = lines.flatMap((line) => {
    if (line.startsWith('service ')) definitions.push(define(line.split(' ').slice(1)))
    if (!line.startsWith('> ')) return [line]
    machine ??= new Machine(definitions)
    if (line.startsWith('> reconfigure')) machine.reconfigure(definitions, idsIn(line))
    else command(machine, line.slice(2))
    definitions = []
    return [line, ...machine.take().map((effect) => `  ${effect}`)]
  })
  return out.join('\n')
}

/** `> reconfigure [changed=a,b]` */
function idsIn(line: string): string[] {
  return /changed=(\S+)/.exec(line)?.[1]?.split(',') ?? []
}

/** `service ID [auto] [optional] [needs=a,b] [attempts=N] [start=DURATION]` */
function define([id = '', ...words]: string[]): ServiceDefinition {
  const value = (key: string): string | undefined => words.find((word) => word.startsWith(`${key}=`))?.split('=')[1]
  return service(id, {
    autoStart: words.includes('auto'),
    startup: words.includes('optional') ? 'optional' : 'required',
    needs: value('needs')?.split(',') ?? [],
    startTimeoutMs: parseDurationMs(value('start') ?? '10s') ?? 0,
    restart: { maxAttempts: Number(value('attempts') ?? 0) },
  })
}

function command(machine: Machine, line: string): void {
  const [verb, id = '', ...rest] = line.split(' ')
  const text = rest.filter((word) => word !== 'final').join(' ')
  const error = new MoonmeshError('Internal', text, rest.includes('final') ? { retryable: false } : {})
  switch (verb) {
    case 'start':
      return machine.start()
    case 'stop':
      return machine.stop(id === 'force')
    case 'start-service':
    case 'stop-service':
    case 'restart-service':
      machine.request(verb, id)
      return
    case 'started':
      return machine.started(id)
    case 'start-failed':
      return machine.startFailed(id, error)
    case 'returned':
      return machine.returned(id)
    case 'failed':
      return machine.failed(id, error)
    case 'stopped':
      return machine.stopped(id, text === 'forced' ? 'forced' : 'graceful')
    case 'advance':
      return machine.advance(parseDurationMs(id) ?? Number.NaN)
    default:
      throw new Error(`unknown command: ${line}`)
  }
}
