; The installer of the Windows program: makensis -DVERSION=0.1 -DPROGRAM=dist/cxr-edge -DOUT=setup.exe installer.nsi
;
;   setup.exe                        asks: for everybody (administrators) or for yourself, where, the service
;   setup.exe /S                     silent, for whoever runs it; for everybody where that is an administrator
;     /AllUsers | /CurrentUser       for whom
;     /SERVICE=C:\path\watch.toml    also runs cxr-edge as a service with these settings
;     /FOLDER=C:\scans               or with settings that it makes for this folder
;     /NOICONS                       no Start menu, no desktop
;     /D=C:\path                     where (the last word, without quotes)
;   uninstall.exe /S [/PURGE]        /PURGE: settings, ledger, installed models and results too
;
; Exit codes: 0 done; 1 cancelled; 2 stopped by an error, the version before is as it was;
;   3 this PC cannot run it; 4 not enough space; 5 cxr-edge runs and must be closed; 6 the service cannot be set up.
;
; A new version is unpacked beside the one that is there, tried, and only then put in its place.
Unicode true
ManifestDPIAware true
SetCompressor /SOLID lzma
Name "cxr-edge ${VERSION}"
OutFile "${OUT}"
BrandingText "cxr-edge ${VERSION}. Not for diagnostic use."
VIProductVersion "${VERSION_NUMBERS}"
VIAddVersionKey ProductName "cxr-edge"
VIAddVersionKey FileDescription "cxr-edge installer"
VIAddVersionKey FileVersion "${VERSION}"
VIAddVersionKey ProductVersion "${VERSION}"
VIAddVersionKey LegalCopyright "Apache-2.0"
; The uninstaller is inside, and signed before it gets there.
!uninstfinalize 'bash sign.sh "%1"'

!define MULTIUSER_EXECUTIONLEVEL Highest
!define MULTIUSER_MUI
!define MULTIUSER_INSTALLMODE_COMMANDLINE
!define MULTIUSER_USE_PROGRAMFILES64
!define MULTIUSER_INSTALLMODE_INSTDIR "cxr-edge"
!define REGISTRY "Software\Microsoft\Windows\CurrentVersion\Uninstall\cxr-edge"
!define MULTIUSER_INSTALLMODE_INSTDIR_REGISTRY_KEY "${REGISTRY}"
!define MULTIUSER_INSTALLMODE_INSTDIR_REGISTRY_VALUENAME "InstallLocation"
!define MULTIUSER_INSTALLMODE_DEFAULT_REGISTRY_KEY "${REGISTRY}"
!define MULTIUSER_INSTALLMODE_DEFAULT_REGISTRY_VALUENAME "InstallLocation"
!include MultiUser.nsh
!include MUI2.nsh
!include FileFunc.nsh
!include LogicLib.nsh
!include WinVer.nsh
!include x64.nsh

Var Service     ; the settings of the service, "" for none
Var Folder      ; the folder that the service reads, where it has no settings yet
Var HadService  ; "yes" where it ran before
Var Swapped     ; "yes" once the version before has been moved aside

!define MUI_ICON cxr-edge.ico
!define MUI_UNICON cxr-edge.ico
!define LONGEST_FOLDER 120   ; its longest path below that has 100 characters, and Windows allows 259
!insertmacro MULTIUSER_PAGE_INSTALLMODE
!insertmacro MUI_PAGE_DIRECTORY
!insertmacro MUI_PAGE_COMPONENTS
!define MUI_PAGE_HEADER_TEXT "$(SERVICE)"
!define MUI_PAGE_HEADER_SUBTEXT ""
!define MUI_DIRECTORYPAGE_TEXT_TOP "$(SERVICE_FOLDER)"
!define MUI_DIRECTORYPAGE_TEXT_DESTINATION "$(FOLDER)"
!define MUI_DIRECTORYPAGE_VARIABLE $Folder
!define MUI_DIRECTORYPAGE_VERIFYONLEAVE
!define MUI_PAGE_CUSTOMFUNCTION_PRE OnlyForService
!insertmacro MUI_PAGE_DIRECTORY
!insertmacro MUI_PAGE_INSTFILES
!define MUI_FINISHPAGE_RUN
!define MUI_FINISHPAGE_RUN_FUNCTION StartProgram
!insertmacro MUI_PAGE_FINISH
!insertmacro MUI_UNPAGE_CONFIRM
!insertmacro MUI_UNPAGE_INSTFILES
!insertmacro MUI_LANGUAGE English
!insertmacro MUI_LANGUAGE French
!insertmacro MUI_LANGUAGE Spanish
!insertmacro MUI_LANGUAGE Portuguese
!insertmacro MUI_LANGUAGE PortugueseBR
!include installer_words.nsh

; Says what is wrong (not where it is silent), and ends with an exit code. What was begun is taken back.
!macro FAIL code text
  MessageBox MB_OK|MB_ICONSTOP "${text}" /SD IDOK
  DetailPrint "${text}"
  Push ${code}
  Call TakeBack
!macroend
!define Fail "!insertmacro FAIL"

Section "cxr-edge" SectionProgram
  SectionIn RO
  ; Before anything is changed.
  StrLen $0 $INSTDIR
  ${If} $0 > ${LONGEST_FOLDER}
    ${Fail} 2 "$(FOLDER_TOO_LONG)"
  ${EndIf}
  SectionGetSize ${SectionProgram} $0
  ClearErrors
  CreateDirectory "$INSTDIR"
  ${If} ${Errors}
    ${Fail} 2 "$(CANNOT_WRITE)"
  ${EndIf}
  IntOp $0 $0 / 1024   ; in MB: the KB that are free on a large disk are more than NSIS can count
  ${DriveSpace} "$INSTDIR\" "/D=F /S=M" $1
  ${If} $1 < $0
    ${Fail} 4 "$(NO_SPACE)"
  ${EndIf}

  ; Beside the version that is there. A File that fails ends a silent installation: .onInstFailed.
  RMDir /r "$INSTDIR\program.new"
  SetOutPath "$INSTDIR\program.new"
  SetOverwrite on
  ClearErrors
  File /r "${PROGRAM}/*"
  ${If} ${Errors}
    ${Fail} 4 "$(NO_SPACE)"
  ${EndIf}
  SetOutPath "$INSTDIR"
  nsExec::ExecToStack '"$INSTDIR\program.new\cxr-edge.exe" --version'
  Pop $0
  Pop $1
  ${If} $0 != 0
    ${Fail} 2 "$(DOES_NOT_RUN)$\r$\n$1"
  ${EndIf}

  ; Then in its place.
  ${If} ${FileExists} "$INSTDIR\program\cxr-edge.exe"
    Call StopService
    RMDir /r "$INSTDIR\program.old"
    ClearErrors
    Rename "$INSTDIR\program" "$INSTDIR\program.old"
    ${If} ${Errors}
      ${Fail} 5 "$(IS_RUNNING)"
    ${EndIf}
    StrCpy $Swapped yes
  ${EndIf}
  ClearErrors
  Rename "$INSTDIR\program.new" "$INSTDIR\program"
  ${If} ${Errors}
    ${Fail} 2 "$(CANNOT_WRITE)"
  ${EndIf}
  RMDir /r /REBOOTOK "$INSTDIR\program.old"
  StrCpy $Swapped ""

  ClearErrors
  WriteUninstaller "$INSTDIR\uninstall.exe"
  WriteRegStr SHCTX "${REGISTRY}" DisplayName "cxr-edge"
  WriteRegStr SHCTX "${REGISTRY}" DisplayVersion "${VERSION}"
  WriteRegStr SHCTX "${REGISTRY}" DisplayIcon "$INSTDIR\program\cxr-edge.exe"
  WriteRegStr SHCTX "${REGISTRY}" Publisher "cxr-edge"
  WriteRegStr SHCTX "${REGISTRY}" InstallLocation "$INSTDIR"
  WriteRegStr SHCTX "${REGISTRY}" UninstallString '"$INSTDIR\uninstall.exe" /$MultiUser.InstallMode'
  WriteRegStr SHCTX "${REGISTRY}" QuietUninstallString '"$INSTDIR\uninstall.exe" /$MultiUser.InstallMode /S'
  WriteRegDWORD SHCTX "${REGISTRY}" NoModify 1
  WriteRegDWORD SHCTX "${REGISTRY}" NoRepair 1
  SectionGetSize ${SectionProgram} $0
  WriteRegDWORD SHCTX "${REGISTRY}" EstimatedSize $0
SectionEnd

Section "$(ICONS)" SectionIcons
  CreateDirectory "$SMPROGRAMS\cxr-edge"
  SetOutPath "$INSTDIR\program"
  CreateShortcut "$SMPROGRAMS\cxr-edge\cxr-edge.lnk" "$INSTDIR\program\cxr-edge.exe" "start"
  CreateShortcut "$SMPROGRAMS\cxr-edge\$(CHOOSE).lnk" "$INSTDIR\program\cxr-edge.exe" "start --choose"
  CreateShortcut "$SMPROGRAMS\cxr-edge\$(RESULTS).lnk" "$INSTDIR\program\cxr-edge.exe" "results"
  CreateShortcut "$SMPROGRAMS\cxr-edge\$(PAGE).lnk" "$INSTDIR\program\cxr-edge.exe" "serve --open"
  CreateShortcut "$SMPROGRAMS\cxr-edge\$(REMOVE).lnk" "$INSTDIR\uninstall.exe" "/$MultiUser.InstallMode"
  ; Folders and films can be dropped onto it.
  CreateShortcut "$DESKTOP\cxr-edge.lnk" "$INSTDIR\program\cxr-edge.exe"
SectionEnd

Section /o "$(SERVICE)" SectionService
  ${If} $MultiUser.InstallMode != "AllUsers"
    MessageBox MB_OK|MB_ICONSTOP "$(SERVICE_NEEDS_ADMINISTRATOR)" /SD IDOK
    SetErrorLevel 6
    Return
  ${EndIf}
  ${If} $Service != ""
    StrCpy $0 '--config "$Service"'
  ${Else}
    StrCpy $0 '--folder "$Folder"'
  ${EndIf}
  nsExec::ExecToStack '"$INSTDIR\program\cxr-edge.exe" service install $0'
  Pop $0
  Pop $1
  DetailPrint $1
  ${If} $0 == 0
    nsExec::ExecToStack '"$INSTDIR\program\cxr-edge.exe" service start'
    Pop $0
    Pop $1
    DetailPrint $1
  ${EndIf}
  ${If} $0 == 0
    StrCpy $HadService ""   ; it runs already
  ${Else}
    MessageBox MB_OK|MB_ICONEXCLAMATION "$(NO_SERVICE)$\r$\n$1" /SD IDOK
    SetErrorLevel 6
  ${EndIf}
SectionEnd

Section "-start again"
  Call StartService
SectionEnd

Function OnlyForService
  ${IfNot} ${SectionIsSelected} ${SectionService}
    Abort   ; this page
  ${EndIf}
FunctionEnd

Function .onInit
  ${IfNot} ${IsNativeAMD64}
  ${AndIfNot} ${IsNativeARM64}   ; Windows 11 runs it there
    MessageBox MB_OK|MB_ICONSTOP "$(NOT_THIS_PC)" /SD IDOK
    SetErrorLevel 3
    Quit
  ${EndIf}
  ${IfNot} ${AtLeastWin10}
    MessageBox MB_OK|MB_ICONSTOP "$(NOT_THIS_PC)" /SD IDOK
    SetErrorLevel 3
    Quit
  ${EndIf}
  SetRegView 64
  StrCpy $R0 $INSTDIR   ; of /D=, which the next line passes over
  !insertmacro MULTIUSER_INIT
  ${If} $R0 != ""
    StrCpy $INSTDIR $R0
  ${EndIf}
  ${GetParameters} $0
  ClearErrors
  ${GetOptions} $0 "/SERVICE=" $Service
  ${GetOptions} $0 "/FOLDER=" $Folder
  ${If} $Service$Folder != ""
    ${If} $MultiUser.InstallMode != "AllUsers"
      MessageBox MB_OK|MB_ICONSTOP "$(SERVICE_NEEDS_ADMINISTRATOR)" /SD IDOK
      SetErrorLevel 6
      Quit
    ${EndIf}
    ${If} $Service != ""
    ${AndIfNot} ${FileExists} "$Service"
      MessageBox MB_OK|MB_ICONSTOP "$(NO_SETTINGS)" /SD IDOK
      SetErrorLevel 6
      Quit
    ${EndIf}
    !insertmacro SelectSection ${SectionService}
  ${EndIf}
  ClearErrors
  ${GetOptions} $0 "/NOICONS" $1
  ${IfNot} ${Errors}
    !insertmacro UnselectSection ${SectionIcons}
  ${EndIf}
FunctionEnd

Function .onInstFailed
  Push 2
  Call TakeBack
FunctionEnd

; The version before is put back and what was begun is removed; ends with the exit code on the stack.
Function TakeBack
  Pop $R9
  SetOutPath "$TEMP"
  RMDir /r "$INSTDIR\program.new"
  ${If} $Swapped == yes
    RMDir /r "$INSTDIR\program"
    Rename "$INSTDIR\program.old" "$INSTDIR\program"
    StrCpy $Swapped ""
  ${EndIf}
  RMDir "$INSTDIR"   ; only where nothing is in it
  Call StartService
  SetErrorLevel $R9
  Quit
FunctionEnd

Function StopService
  StrCpy $HadService ""
  nsExec::ExecToStack '"$INSTDIR\program\cxr-edge.exe" service status'
  Pop $0
  Pop $1
  ${If} $0 == 0
    StrCpy $HadService yes
    DetailPrint $1
    nsExec::ExecToStack '"$INSTDIR\program\cxr-edge.exe" service stop'
    Pop $0
    Pop $1
    ${If} $0 != 0
      ${Fail} 5 "$(SERVICE_DOES_NOT_STOP)$\r$\n$1"
    ${EndIf}
  ${EndIf}
FunctionEnd

Function StartService
  ${If} $HadService == yes
    nsExec::ExecToStack '"$INSTDIR\program\cxr-edge.exe" service start'
    Pop $0
    Pop $1
    DetailPrint $1
    StrCpy $HadService ""
  ${EndIf}
FunctionEnd

Function StartProgram
  Exec '"$INSTDIR\program\cxr-edge.exe" start'
FunctionEnd

Function un.onInit
  SetRegView 64
  StrCpy $R0 $INSTDIR   ; where this uninstaller lies
  !insertmacro MULTIUSER_UNINIT
  StrCpy $INSTDIR $R0
FunctionEnd

Section "Uninstall"
  ${If} $MultiUser.InstallMode == "AllUsers"
    nsExec::ExecToStack '"$INSTDIR\program\cxr-edge.exe" service remove'
    Pop $0
    Pop $1
    DetailPrint $1
  ${EndIf}
  ClearErrors
  Rename "$INSTDIR\program" "$INSTDIR\program.old"
  ${If} ${Errors}
  ${AndIf} ${FileExists} "$INSTDIR\program\cxr-edge.exe"
    MessageBox MB_OK|MB_ICONSTOP "$(IS_RUNNING)" /SD IDOK
    SetErrorLevel 5
    Abort
  ${EndIf}
  RMDir /r "$INSTDIR\program.old"
  RMDir /r "$INSTDIR\program.new"
  Delete "$INSTDIR\uninstall.exe"
  RMDir "$INSTDIR"
  RMDir /r "$SMPROGRAMS\cxr-edge"
  Delete "$DESKTOP\cxr-edge.lnk"
  DeleteRegKey SHCTX "${REGISTRY}"

  ; What people made stays, unless somebody says otherwise.
  ${GetParameters} $0
  ClearErrors
  ${GetOptions} $0 "/PURGE" $1
  ${If} ${Errors}
    MessageBox MB_YESNO|MB_ICONQUESTION|MB_DEFBUTTON2 "$(PURGE)" /SD IDNO IDNO kept
  ${EndIf}
  ${If} $MultiUser.InstallMode == "AllUsers"
    SetShellVarContext all
    RMDir /r "$APPDATA\cxr-edge"   ; in ProgramData
    Delete "$DOCUMENTS\cxr-edge\results*.csv"
    RMDir "$DOCUMENTS\cxr-edge"
  ${EndIf}
  SetShellVarContext current
  RMDir /r "$LOCALAPPDATA\cxr-edge"
  Delete "$PROFILE\cxr-edge\results*.csv"   ; X-rays may lie beside them
  RMDir "$PROFILE\cxr-edge"
  kept:
SectionEnd
