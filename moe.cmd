@echo off
rem Builds the command line in Release when its sources changed, then runs it with the arguments given.
setlocal
set "MOE_COMMAND=%~0"
set "MOE_ROOT=%~dp0"
set "MOE_BIN=%MOE_ROOT%src\MoeSharp.Cli\bin"
set "MOE_PROGRAM=%MOE_BIN%\Release\net10.0\moe.dll"

where dotnet >nul 2>nul
if errorlevel 1 (
  echo moe: 'dotnet' was not found. Install the .NET 10 SDK from https://dot.net and put it on PATH. 1>&2
  exit /b 1
)

if not exist "%MOE_BIN%" mkdir "%MOE_BIN%"
call :list > "%MOE_BIN%\moe.sources.now"
if not exist "%MOE_PROGRAM%" goto build
if not exist "%MOE_BIN%\moe.sources" goto build
fc /b "%MOE_BIN%\moe.sources.now" "%MOE_BIN%\moe.sources" >nul 2>nul
if errorlevel 1 goto build
goto run

:build
dotnet build "%MOE_ROOT%src\MoeSharp.Cli" -c Release -v q --nologo -nodeReuse:false > "%MOE_BIN%\moe.build.log" 2>&1
if errorlevel 1 (
  type "%MOE_BIN%\moe.build.log" 1>&2
  echo moe: the build failed; see the messages above 1>&2
  exit /b 1
)
move /y "%MOE_BIN%\moe.sources.now" "%MOE_BIN%\moe.sources" >nul

:run
dotnet "%MOE_PROGRAM%" %*
exit /b %ERRORLEVEL%

rem Size, time and path of every source file.
:list
where /r "%MOE_ROOT%src" /t *.cs *.csproj *.json *.txt report.css report.js 2>nul | findstr /v /i /c:"\obj\\" /c:"\bin\\"
where /r "%MOE_ROOT%bench" /t *.cs *.csproj 2>nul | findstr /v /i /c:"\obj\\" /c:"\bin\\"
where /t "%MOE_ROOT%configs:*.json" 2>nul
where /t "%MOE_ROOT%:*.props" "%MOE_ROOT%:global.json" 2>nul
exit /b 0
