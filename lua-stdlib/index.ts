// Every library module, by the name under which scripts require it.

import type { LibraryModule } from '../runtime/services.ts'
import { base64Module } from './base64.ts'
import { channelModule } from './channel.ts'
import { compressModule } from './compress.ts'
import { cryptoModule } from './crypto.ts'
import { ctxModule } from './ctx.ts'
import { envModule } from './env.ts'
import { errorsModule } from './errors.ts'
import { evalRunnerModule } from './eval-runner.ts'
import { eventsModule } from './events.ts'
import { exprModule } from './expr.ts'
import { fsModule } from './fs.ts'
import { funcsModule } from './funcs.ts'
import { coroutineModule, mathModule, tableModule } from './globals.ts'
import { hashModule } from './hash.ts'
import { ioModule } from './io.ts'
import { jsonModule } from './json.ts'
import { loggerModule } from './logger.ts'
import { metricsModule } from './metrics.ts'
import { osModule } from './os.ts'
import { payloadModule } from './payload.ts'
import { pgModule } from './pg.ts'
import { processModule } from './process.ts'
import { queueModule } from './queue.ts'
import { registryEntriesModule } from './registry.ts'
import { securityModule } from './security.ts'
import { storeModule } from './store.ts'
import { streamModule } from './stream.ts'
import { systemModule } from './system.ts'
import { textModule } from './text.ts'
import { timeModule } from './time.ts'
import { stringModule } from './types.ts'
import { uuidModule } from './uuid.ts'
import { yamlModule } from './yaml.ts'

export const libraryModules: readonly LibraryModule[] = [
  errorsModule,
  channelModule,
  payloadModule,
  processModule,
  coroutineModule,
  mathModule,
  tableModule,
  stringModule,
  osModule,
  ioModule,
  jsonModule,
  timeModule,
  ctxModule,
  funcsModule,
  eventsModule,
  registryEntriesModule,
  cryptoModule,
  streamModule,
  fsModule,
  base64Module,
  hashModule,
  uuidModule,
  yamlModule,
  compressModule,
  textModule,
  exprModule,
  evalRunnerModule,
  envModule,
  storeModule,
  pgModule,
  queueModule,
  securityModule,
  loggerModule,
  metricsModule,
  systemModule,
]
